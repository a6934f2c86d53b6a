"""HTTP for all routes: problem documents, negotiation, bodies, downloads."""

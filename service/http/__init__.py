"""What every request meets: problem documents, negotiation, bodies, downloads."""

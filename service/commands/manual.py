"""Texts of ``--help``: about the program, exit codes, and examples of each command."""

import typer

ABOUT = """
Train FACT-RFM and ask its models, on this machine or on a running service.

Commands such as fit, features and predict work on a running service. It is named by --url and --key, else by
FACTRFM_URL and FACTRFM_API_KEY, else by the part of ~/.config/factrfm/profiles.toml that --profile or FACTRFM_PROFILE
names, else it is http://127.0.0.1:8000. Commands such as up, serve, worker, migrate and keys work on this machine,
with the settings of the environment; 'factrfm settings' shows them.

Answers go to standard output; progress and complaints go to standard error. --json prints an answer as JSON.
"""
ENDINGS = """
\b
Exit codes:
  0  all is well
  1  something stands in the way: the service, the network, a file, the disk
  2  the command was typed wrong, or asks for what cannot be
  3  a job did not succeed
  4  a wait was too short; the job goes on

\b
Examples:
  factrfm up
  factrfm fit houses.csv --target price --model houses
  factrfm features houses --png houses.png
  factrfm COMMAND --help
"""
EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": ("factrfm up", "factrfm up --port 8500 --home /srv/factrfm"),
    "demo": ("factrfm demo", "factrfm demo --url http://127.0.0.1:8000 --out cells.png"),
    "serve": ("factrfm serve", "FACTRFM_HOST=0.0.0.0 FACTRFM_API_KEYS=... factrfm serve"),
    "worker": ("factrfm worker", "FACTRFM_DEVICE=cuda:1 factrfm worker"),
    "upload": ("factrfm upload houses.csv --name houses", "factrfm upload jan.parquet feb.parquet --json"),
    "datasets": ("factrfm datasets", "factrfm datasets ds_01jd0000000000000000000000 --json"),
    "fit": (
        "factrfm fit houses.csv --target price --model houses",
        "factrfm fit houses.csv -t price --kernel gaussian --ridge 0.01 --iterations 8",
        "factrfm fit houses.csv -t price --spec spec.yaml --set refit=false --validation 5",
        "factrfm fit visits.csv -t cost --group patient --validation 5",
        "factrfm fit sales.csv -t price --time day --validation 0.1",
        "factrfm fit houses.csv -t price --column zip=categorical --column notes=text",
        "factrfm fit payments.csv -t fraud --weights count --class-weight yes=20 --class-weight no=1",
        "factrfm fit ds_01jd0000000000000000000000 -t price --no-wait",
    ),
    "tune": (
        "factrfm tune houses.csv --target price --model houses --trials 30",
        "factrfm tune houses.csv -t price --space space.yaml --timeout 600",
    ),
    "network": (
        "factrfm network houses.csv --target price",
        "factrfm network houses.csv -t price --hidden 64 --hidden 64 --steps 5000 --out report.json",
        "factrfm network houses.csv -t price --spec network.yaml --set learning_rate=0.05",
    ),
    "batch": ("factrfm batch jobs.yaml", "factrfm batch jobs.jsonl --wait --json"),
    "jobs": ("factrfm jobs --state running", "factrfm jobs job_01jd0000000000000000000000 --json"),
    "watch": (
        "factrfm watch job_01jd0000000000000000000000",
        "factrfm watch job_01jd0000000000000000000000 --json | jq .data",
    ),
    "parts": (
        "factrfm parts job_01jd0000000000000000000000",
        "factrfm parts job_01jd0000000000000000000000 --state running",
    ),
    "cancel": ("factrfm cancel job_01jd0000000000000000000000", "factrfm cancel bat_01jd0000000000000000000000"),
    "retry": ("factrfm retry job_01jd0000000000000000000000",),
    "trials": ("factrfm trials job_01jd0000000000000000000000", "factrfm trials job_01jd0000000000000000000000 --json"),
    "report": ("factrfm report job_01jd0000000000000000000000",),
    "models": ("factrfm models", "factrfm models houses --json"),
    "features": (
        "factrfm features houses",
        "factrfm features houses@2 --top 5 --png houses.png",
        "factrfm features houses --png begin.png --iteration 1",
    ),
    "leaves": ("factrfm leaves houses", "factrfm leaves houses@2 --limit 2000 --json"),
    "predict": (
        "factrfm predict houses new.csv --out prices.csv",
        "cat new.csv | factrfm predict houses > prices.csv",
        "factrfm predict houses new.parquet --job --out prices.parquet",
    ),
    "explain": ("factrfm explain houses new.csv", "head -2 new.csv | factrfm explain houses --neighbours 10 --top 3"),
    "export": ("factrfm export houses", "factrfm export houses@2 --format onnx --out houses.onnx"),
    "describe": ("factrfm describe houses", "factrfm describe houses --text 'prices of 2025' --tag production"),
    "delete": ("factrfm delete houses@3", "factrfm delete --yes job_01jd0000000000000000000000"),
    "promote": ("factrfm promote houses@2", "factrfm promote houses --newest"),
    "compare": ("factrfm compare houses@1 houses@2",),
    "doctor": ("factrfm doctor", "factrfm doctor --here --json"),
    "migrate": ("factrfm migrate --check", "factrfm migrate"),
    "check": ("factrfm check", "factrfm check --worker", "factrfm check --worker --ready"),
    "settings": ("factrfm settings", "factrfm settings --json"),
    "keys create": ("factrfm keys create 'nightly fits' --project lab", "factrfm keys create dashboards --scope read"),
    "keys list": ("factrfm keys list --json",),
    "keys revoke": ("factrfm keys revoke key_01jd0000000000000000000000",),
}
"""Examples by command."""


def add_examples(app: typer.Typer, before: str = "") -> None:
    """Append the examples to the help of every command of ``app``."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        lines = "\n".join(f"  {line}" for line in EXAMPLES.get(f"{before}{name}", ()))
        if lines:
            command.epilog = f"\b\nExamples:\n{lines}"
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{before}{group.name} ")

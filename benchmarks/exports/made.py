"""Exports made by code: one table of customers, written as six programs would write it."""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import pandas as pd
import xlsxwriter

from benchmarks.exports.export import TARGET, Export, calendar

COLUMNS = {"plan", "fee", "discount", "zip", "city", "note", "age", "score", "newsletter"}
"""What careful hands keep as it is; they leave out the number, the mail, the constant and the comment."""
WORDS = ["order", "arrived", "late", "please", "call", "again", "the", "box", "was", "open", "thanks", "invoice", "new"]
Write = Callable[[pd.DataFrame], bytes]


def made(rows: int, test_rows: int, seed: int, names: Collection[str]) -> Iterator[Export]:
    """Yield exports of one seed; each has rows of its own."""
    for place, (name, (suffix, target, kind, write, read)) in enumerate(KINDS.items()):
        if name not in names:
            continue
        frame = customers(rows + test_rows, np.random.default_rng([seed, place]))
        frame[TARGET] = frame[kind]
        frame.loc[frame.index[:rows][::33], TARGET] = None
        train, test = frame.iloc[:rows], frame.iloc[rows:]
        files, copies = (write(train), write(test)), (_cleaned(train), _cleaned(test))
        yield Export(name, suffix, target, kind != "spend", *files, *copies, read)


def customers(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return n customers, and what they did: ``churn``, ``spend`` in money, ``segment``."""
    zips = np.array([f"{code:05d}" for code in rng.choice(99_999, 40, replace=False)])
    cities = np.array([f"{one}{two}" for one in _syllables(rng, 12) for two in ("burg", "ton", "feld", "ville", "au")])
    zip_code, city = rng.integers(0, len(zips), n), rng.integers(0, len(cities), n)
    joined = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    last = pd.Timestamp("2025-03-01") + pd.to_timedelta(rng.integers(0, 60 * 24 * 300, n), "min")
    frame = pd.DataFrame(
        {
            "id": [f"K-{number:06d}" for number in rng.permutation(n)],
            "mail": [f"customer{number}@example.org" for number in rng.permutation(n)],
            "joined": joined,
            "last": last,
            "plan": rng.choice(["Basic", "Plus", "Pro"], n, p=[0.6, 0.3, 0.1]),
            "fee": rng.gamma(3, 400, n).round(2),
            "discount": rng.integers(0, 40, n),
            "zip": zips[zip_code],
            "city": cities[city],
            "note": rng.choice(["called twice", "wants refund", "happy", None], n, p=[0.2, 0.15, 0.25, 0.4]),
            "age": rng.normal(50, 9, n).round(1),
            "score": rng.normal(0, 1, n).round(3),
            "newsletter": rng.random(n) < 0.4,
            "comment": [" ".join(rng.choice(WORDS, 14)) for _ in range(n)],
            "country": "EU",
        }
    )
    latent = (
        1.2 * (frame["plan"] == "Basic")
        + frame["fee"] / 1500
        - frame["discount"] / 20
        + 0.9 * np.sin(2 * np.pi * frame["joined"].dt.month / 12)
        + 1.5 * (frame["note"] == "wants refund")
        + rng.normal(0, 0.7, len(zips))[zip_code]
        + rng.normal(0, 0.5, len(cities))[city]
        + 0.6 * np.cos(2 * np.pi * frame["last"].dt.hour / 24)
        + 0.5 * (frame["last"].dt.weekday > 4)
        + 0.04 * (frame["age"] - 50)
        + 0.5 * frame["score"] * np.where(frame["newsletter"], 1, -1)
    )
    latent -= latent.mean()
    frame["churn"] = np.where(rng.random(n) < 1 / (1 + np.exp(-2 * latent)), "yes", "no")
    frame["spend"] = (2000 * np.exp(0.3 * latent + rng.normal(0, 0.15, n))).round(2)
    noisy = latent + rng.normal(0, 0.5, n)
    frame["segment"] = np.array(["bronze", "silver", "gold"])[np.searchsorted([-0.7, 0.7], noisy)]
    frame.loc[rng.random(n) < 0.1, "age"] = None
    frame.loc[rng.random(n) < 0.05, "score"] = None
    return frame


def _syllables(rng: np.random.Generator, count: int) -> list[str]:
    found = [f"{one}{two}{three}" for one in "BDGKLMNRST" for two in "aeiou" for three in "lmnr"]
    return [str(name) for name in rng.choice(found, count, replace=False)]


def _cleaned(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what ten careful lines of pandas make of any of the files."""
    kept = {name: frame[name] for name in frame.columns if name in COLUMNS}
    dates = {**calendar(frame["joined"], "joined"), **calendar(frame["last"], "last")}
    return pd.DataFrame({**kept, **dates, TARGET: frame[TARGET]}).reset_index(drop=True)


def _texts(values: Iterable[object], form: Callable[..., str], nothing: str) -> list[str]:
    return [nothing if pd.isna(value) else form(value) for value in values]


def _delimited(columns: dict[str, list[str]], separator: str, title: str = "", quoting: int = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO()
    text.write(title)
    writer = csv.writer(text, delimiter=separator, quoting=quoting)
    writer.writerow([name.rstrip("*") for name in columns])
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _comma(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))


def german(frame: pd.DataFrame) -> bytes:
    """Semicolons, decimal commas, a title, empty columns at the end, two words for nothing, Windows' encoding."""
    columns = {
        "Kundennr": list(frame["id"]),
        "E-Mail": list(frame["mail"]),
        "Beitritt": list(frame["joined"].dt.strftime("%d.%m.%Y")),
        "Letzter Kauf": list(frame["last"].dt.strftime("%d.%m.%Y %H:%M")),
        "Tarif": list(frame["plan"]),
        "Gebühr": [f"{_comma(fee)} €" for fee in frame["fee"]],
        "Rabatt": [f"{discount} %" for discount in frame["discount"]],
        "PLZ": list(frame["zip"]),
        "Ort": list(frame["city"]),
        "Notiz": _texts(frame["note"], str, "-"),
        "Alter": _texts(frame["age"], lambda age: _comma(age, 1), "k.A."),
        "Punkte": _texts(frame["score"], lambda score: _comma(score, 3), "-"),
        "Rundbrief": ["ja" if letter else "nein" for letter in frame["newsletter"]],
        "Bemerkung": list(frame["comment"]),
        "Land": list(frame["country"]),
        "Gekündigt": _texts(frame[TARGET], str, ""),
        "*": [""] * len(frame),
        "**": [""] * len(frame),
    }
    return _delimited(columns, ";", "Kundenexport vom 30.11.2026\r\n\r\n").encode("cp1252")


def american(frame: pd.DataFrame) -> bytes:
    """Dollars, months first, clocks of twelve hours, percent, and N/A."""
    columns = {
        "Customer ID": list(frame["id"]),
        "Email": list(frame["mail"]),
        "Joined": list(frame["joined"].dt.strftime("%m/%d/%Y")),
        "Last Order": list(frame["last"].dt.strftime("%m/%d/%Y %I:%M %p")),
        "Plan": list(frame["plan"]),
        "Fee": [f"${fee:,.2f}" for fee in frame["fee"]],
        "Discount": [f"{discount}%" for discount in frame["discount"]],
        "ZIP": list(frame["zip"]),
        "City": list(frame["city"]),
        "Note": _texts(frame["note"], str, "N/A"),
        "Age": _texts(frame["age"], str, "N/A"),
        "Score": _texts(frame["score"], str, "N/A"),
        "Newsletter": ["Yes" if letter else "No" for letter in frame["newsletter"]],
        "Comment": [f'{comment}, "{comment[:4]}"' for comment in frame["comment"]],
        "Country": list(frame["country"]),
        "Spend": _texts(frame[TARGET], "${:,.2f}".format, ""),
    }
    return _delimited(columns, ",").encode()


def of_r(frame: pd.DataFrame) -> bytes:
    """As write.csv of R: the names of rows in a column without a name, all texts quoted, NA."""
    columns = {"": [str(number) for number in range(1, len(frame) + 1)]}
    for name in frame.columns.drop(["churn", "spend", "segment"]):
        cells = frame[name].dt.strftime("%Y-%m-%d %H:%M:%S") if name in ("joined", "last") else frame[name]
        if cells.dtype == bool:
            cells = cells.map({True: "TRUE", False: "FALSE"})
        columns[name] = ["NA" if pd.isna(cell) else cell for cell in cells]
    return _delimited(columns, ",", quoting=csv.QUOTE_NONNUMERIC).replace('"NA"', "NA").encode()


def excel_text(frame: pd.DataFrame) -> bytes:
    """As Excel's "Unicode text": tabs, UTF-16, decimal commas, an error of a formula."""
    columns = {
        "Nr": [str(number) for number in range(1, len(frame) + 1)],
        "Kunde": list(frame["id"]),
        "Beitritt": list(frame["joined"].dt.strftime("%d.%m.%y")),
        "Letzter Kauf": list(frame["last"].dt.strftime("%d.%m.%Y %H:%M:%S")),
        "Tarif": list(frame["plan"]),
        "Gebühr": [_comma(fee) for fee in frame["fee"]],
        "Rabatt": [_comma(discount / 100) for discount in frame["discount"]],
        "PLZ": list(frame["zip"]),
        "Ort": list(frame["city"]),
        "Notiz": _texts(frame["note"], str, ""),
        "Alter": _texts(frame["age"], lambda age: _comma(age, 1), "#NV"),
        "Punkte": _texts(frame["score"], lambda score: _comma(score, 3), "#NV"),
        "Rundbrief": ["WAHR" if letter else "FALSCH" for letter in frame["newsletter"]],
        "Bemerkung": list(frame["comment"]),
        "Ausgaben": _texts(frame[TARGET], _comma, ""),
    }
    return _delimited(columns, "\t").encode("utf-16")


def workbook(frame: pd.DataFrame) -> bytes:
    """A sheet with a title, dates and percents as Excel has them, and two sheets that are no table."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        day, clock, percent = (book.add_format({"num_format": f}) for f in ("yyyy-mm-dd", "yyyy-mm-dd hh:mm", "0%"))
        forms = {"joined": day, "last": clock, "discount": percent}
        sheet = book.add_worksheet("Customers")
        sheet.write(0, 0, "Customers of 2025")
        names = [name for name in frame.columns if name not in ("churn", "spend", "segment")]
        sheet.write_row(2, 0, names)
        for column, name in enumerate(names):
            for row, cell in enumerate(frame[name], 3):
                if pd.isna(cell):
                    sheet.write(row, column, "n/a" if name in ("age", "score") else "")
                elif name in forms:
                    shown = cell / 100 if name == "discount" else cell.to_pydatetime()
                    sheet.write(row, column, shown, forms[name])
                else:
                    sheet.write(row, column, bool(cell) if name == "newsletter" else cell)
        book.add_worksheet("Notes").write(0, 0, "of the last quarter")
        book.add_worksheet("Sheet3")
    return file.getvalue()


def lines_of_json(frame: pd.DataFrame) -> bytes:
    """An object a line, without the keys of missing values; money and zip codes are texts, times have a zone."""
    lines = []
    for row in frame.drop(columns=["churn", "spend", "segment"]).to_dict("records"):
        cells = {name: cell for name, cell in row.items() if not pd.isna(cell)}
        cells |= {"joined": f"{row['joined']:%Y-%m-%d}", "last": f"{row['last']:%Y-%m-%dT%H:%M:00Z}"}
        cells["fee"] = f"EUR {row['fee']:.2f}"
        lines.append(json.dumps(cells))
    return ("\n".join(lines) + "\n").encode()


def _plain(skip: int, encoding: str) -> Callable[[bytes], pd.DataFrame]:
    def read(file: bytes) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(file), sep=None, engine="python", skiprows=skip, encoding=encoding)

    return read


def _plain_workbook(file: bytes) -> pd.DataFrame:
    return pd.read_excel(io.BytesIO(file), engine="calamine", skiprows=2)


def _plain_lines(file: bytes) -> pd.DataFrame:
    return pd.read_json(io.BytesIO(file), lines=True)


KINDS: dict[str, tuple[str, str, str, Write, Callable[[bytes], pd.DataFrame]]] = {
    "German CSV": ("csv", "Gekündigt", "churn", german, _plain(2, "cp1252")),
    "American CSV": ("csv", "Spend", "spend", american, _plain(0, "utf-8")),
    "CSV of R": ("csv", TARGET, "segment", of_r, _plain(0, "utf-8")),
    "text of Excel": ("tsv", "Ausgaben", "spend", excel_text, _plain(0, "utf-16")),
    "workbook": ("xlsx", TARGET, "spend", workbook, _plain_workbook),
    "lines of JSON": ("ndjson", TARGET, "churn", lines_of_json, _plain_lines),
}
"""Suffix, name of the target, what the target is, how it is written and plainly read."""

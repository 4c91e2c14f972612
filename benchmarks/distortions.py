"""Forty mechanical distortions of each of ten clean files: does a job read the same table from them?

    python benchmarks/distortions.py --program build/bilevel --data FOLDER --out DIR [--jobs N] [--only NAME ...] [--all]

FOLDER holds the public data sets; DIR gets distortions.tsv, and the files of every outcome that is not the same
figure, with the command. NAME is a file, a distortion, or file/distortion; --all runs every distortion that changes a
file, not forty of them.

A run has the test figure of the clean file (AUC of `auc`, accuracy of `tune`; within .001), or is refused (exit code
2; the message is printed, for a person to judge), or fails: another figure, "said" where the run warned of something
that it did not warn of before, or an exit code that no user should see. Exit code 1 if any fails.

What may move a figure rightly is held still: training, validation and test rows are files of their own, every batch
holds all rows of its part, and the encoders are linear (the default for columns, `tab`, draws its weights by the place of
a column and its batches by that of a row), so that neither the order of rows nor that of columns reaches the figure but
by rounding. Training rows written twice halve the weight of the L2 term of `auc`, and its refit would
count each validation row half as much beside them: `--l2` is doubled with them, on both sides there is no refit, and
the ranks of n and 2 n rows differ by less than a row. The files `orders`, `visits` and `reviews` are made, with a
fixed seed, for what the public sets lack: dates, amounts of money, letters with accents."""
import argparse
import concurrent.futures
import copy
import csv
import datetime
import gzip
import io
import json
import lzma
import math
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import unicodedata
import zipfile

TOLERANCE = 0.001
PARTS = ("train", "valid", "test")
FORTY = 40
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
GERMAN_MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()


class Style:
    """How a part is written."""

    def __init__(self, extension):
        self.extension = extension
        self.delimiter = "\t" if extension == "tsv" else ","
        self.quotes = "never" if extension == "tsv" else "needed"
        self.encoding = "utf-8"
        self.mark = b""  # of the byte order
        self.ending = "\n"
        self.before = ""  # lines above the header
        self.header = True
        self.pack = bytes
        self.text = lambda text: text  # a change of the whole text, line ends being \n
        self.json_row = None  # of a row as a dict; None: a table


class Job:
    """A table in three parts, and the command that reads it. `kinds` of columns: number, category, text, date, moment,
    label or other."""

    def __init__(self, name, extension, command, header, kinds, rows, sizes, flags=(), positive=None):
        self.name, self.command, self.header, self.kinds = name, command, list(header), list(kinds)
        self.flags, self.base_flags, self.positive = list(flags), [], positive
        self.label = header[kinds.index("label")]
        self.rows, start = {}, 0
        for part, size in zip(PARTS, sizes):
            self.rows[part] = [list(row) for row in rows[start : start + size]]
            start += size
        assert start <= len(rows), name
        self.style = {part: Style(extension) for part in PARTS}
        self.stdin = False

    def columns(self, *kinds):
        return [column for column, kind in enumerate(self.kinds) if kind in kinds]

    def map(self, columns, change, parts=PARTS):
        """Changes the cells that are not empty: change(cell), or change(cell, row) where it takes two."""
        two = change.__code__.co_argcount == 2
        for part in parts:
            for at, row in enumerate(self.rows[part]):
                for column in columns:
                    if row[column] != "":
                        row[column] = change(row[column], at) if two else change(row[column])

    def map_rows(self, change, parts=PARTS):
        for part in parts:
            self.rows[part] = change(self.rows[part])

    def add(self, name, kind, cell, first=False, parts=PARTS):
        """A column more; cell(row, random)."""
        draw, at = random.Random(7), 0 if first else len(self.kinds)
        self.kinds.insert(at, kind)
        self.header.insert(at, name)
        count = 0
        for part in PARTS:
            for row in self.rows[part]:
                row.insert(at, cell(count, draw) if part in parts else "")
                count += 1

    def styles(self, parts=PARTS, **values):
        for part in parts:
            for key, value in values.items():
                assert hasattr(self.style[part], key)
                setattr(self.style[part], key, value)

    def file(self, part):
        return part + "." + self.style[part].extension

    def bytes(self, part):
        style, rows = self.style[part], self.rows[part]
        if style.json_row:
            text = "".join(style.json_row(self, dict(zip(self.header, row))) + "\n" for row in rows)
        else:
            text = style.before + write_table(([self.header] if style.header else []) + rows, style)
        text = style.text(text).replace("\n", style.ending)
        return style.pack(style.mark + text.encode(style.encoding, "replace"))

    def arguments(self):
        out = [self.command]
        for part in PARTS:
            out += ["--" + part, "-" if self.stdin and part == "train" else self.file(part)]
        out += ["--label", self.label] + (["--positive", self.positive] if self.positive else [])
        return out + self.base_flags + self.flags + ["--threads", "1"]

    def fingerprint(self):
        return [self.arguments(), [self.file(part) for part in PARTS], [self.bytes(part) for part in PARTS]]


def write_table(rows, style):
    if style.quotes == "never":
        assert not any(style.delimiter in cell or "\n" in cell for row in rows for cell in row)
        return "".join(style.delimiter.join(row) + "\n" for row in rows)
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if style.quotes == "all" else csv.QUOTE_MINIMAL
    escape = {"doublequote": False, "escapechar": "\\"} if style.quotes == "backslash" else {}
    csv.writer(out, delimiter=style.delimiter, quoting=quoting, lineterminator="\n", **escape).writerows(rows)
    return out.getvalue()


# ---- the ten files ----


def packed(data, name):
    with gzip.open(os.path.join(data, name), "rt", encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]


AUC = ["--encoder", "linear", "--steps", "60", "--batch-size", "100000"]
AUC_TEXT = ["--encoder", "bag", "--steps", "25", "--batch-size", "100000"]
TUNE = ["--steps", "4", "--batch-size", "100000", "--baseline-passes", "0", "--jobs", "1"]


def drawn(rows, count, seed):
    """Rows at random that all differ."""
    rows = list(dict.fromkeys(map(tuple, rows)))
    random.Random(seed).shuffle(rows)
    return [list(row) for row in rows[:count]]


def with_gaps(rows, columns, share, seed):
    draw = random.Random(seed)
    for row in rows:
        for column in columns:
            if draw.random() < share:
                row[column] = ""
    return rows


def magic(data):
    rows = drawn((line.split(",") for line in packed(data, "tabular/magic04.csv.gz")), 1300, 1)
    header = "length width size conc conc1 asym m3long m3trans alpha dist class".split()
    return Job("magic", "csv", "auc", header, ["number"] * 10 + ["label"], with_gaps(rows, [0, 5], 0.04, 1),
               (600, 300, 400), AUC, "g")


def german(data):
    rows = drawn((line.split(",") for line in packed(data, "tabular/german.csv.gz")), 1000, 2)
    header = ("status duration history purpose amount savings employed rate sex debtors since property age plans housing "
              "credits job liable phone foreign risk").split()
    kinds = ["number" if cell.isdigit() else "category" for cell in rows[0][:-1]] + ["label"]
    return Job("german", "csv", "auc", header, kinds, with_gaps(rows, [1, 4, 5], 0.04, 2), (500, 200, 300), AUC, "2")


def pima(data):
    rows = drawn((line.split(",") for line in packed(data, "tabular/pima-indians-diabetes.csv.gz")), 768, 3)
    for row in rows:
        for column in range(1, 6):
            row[column] = "" if row[column] == "0" else row[column]
    header = "pregnant glucose pressure skin insulin bmi pedigree age diabetes".split()
    return Job("pima", "csv", "auc", header, ["number"] * 8 + ["label"], rows, (368, 150, 250), AUC, "1")


def digits(data):
    with gzip.open(os.path.join(data, "mnist/t10k-images-idx3-ubyte.gz")) as file:
        pixels = file.read()[16:]
    with gzip.open(os.path.join(data, "mnist/t10k-labels-idx1-ubyte.gz")) as file:
        labels = file.read()[8:]
    rows = []
    for image in random.Random(4).sample(range(10000), 900):
        sums = [0] * 49
        for at, value in enumerate(pixels[784 * image : 784 * (image + 1)]):
            sums[at // 28 // 4 * 7 + at % 28 // 4] += value
        rows.append([str(labels[image])] + [str(value) for value in sums])
    return Job("digits", "csv", "tune", ["digit"] + [f"p{at}" for at in range(49)], ["label"] + ["number"] * 49, rows,
               (400, 200, 300), TUNE)


def orders(_):
    draw, rows = random.Random(5), []
    towns = {"Zürich": 0.8, "Málaga": -0.6, "København": 0.3, "Besançon": 0.5, "Göteborg": -0.9, "Bern": 0.0}
    for _ in range(1200):
        day, town = draw.randrange(731), draw.choice(list(towns))
        amount, discount = round(math.exp(draw.gauss(6, 1.2)), 2), draw.randrange(0, 41)
        items, channel = draw.randrange(1, 30), draw.choice(["web", "shop", "phone"])
        balance = round(draw.gauss(0, 900), 2)
        odds = (towns[town] + (math.log(amount) - 6) - 0.06 * (discount - 20) + 0.003 * (day - 365) + balance / 900
                + {"web": 0.7, "shop": -0.7, "phone": 0}[channel] - 1)
        label = "ja" if draw.random() < 1 / (1 + math.exp(-1.5 * odds)) else "nein"
        date = (datetime.date(2023, 1, 1) + datetime.timedelta(day)).isoformat()
        rows.append([date, town, f"{amount:.2f}", str(discount), str(items), channel, f"{balance:.2f}", label])
    header = "date town amount discount items channel balance returned".split()
    kinds = ["date", "category", "number", "number", "number", "category", "number", "label"]
    return Job("orders", "csv", "auc", header, kinds, with_gaps(rows, [0, 2, 5, 6], 0.04, 5), (600, 250, 350), AUC, "ja")


def visits(_):
    draw, rows = random.Random(6), []
    for _ in range(1000):
        moment = datetime.datetime(2024, 1, 1) + datetime.timedelta(minutes=draw.randrange(366 * 1440))
        heat, age, ward = round(draw.gauss(38, 1), 1), draw.randrange(1, 95), draw.choice(["Nord", "Süd", "Ost", "West"])
        cost = draw.randrange(200, 20000)
        value = (heat - 38) + 0.03 * (age - 48) + 0.08 * (moment.hour - 12) + 0.15 * (moment.month - 6) + (cost - 10000) / 8000
        value += {"Nord": 1, "Süd": -1, "Ost": 0.5, "West": 0}[ward] + draw.gauss(0, 0.6)
        label = "première" if value < -0.9 else "deuxième" if value < 1 else "dernière"
        rows.append([label, moment.strftime("%Y-%m-%d %H:%M"), f"{heat:.1f}", str(age), ward, str(cost)])
    return Job("visits", "tsv", "tune", "class begin heat age ward cost".split(),
               ["label", "moment", "number", "number", "category", "number"], with_gaps(rows, [2, 4, 5], 0.04, 6),
               (500, 200, 300), TUNE)


def reviews(_):
    good = "élégant très agréable délicieux chaleureux merveilleux réussi frais généreux parfait soigné léger".split()
    bad = "déçu très médiocre froid brûlé salé désagréable lent négligé périmé cher gâté".split()
    other = "le la une repas hôtel déjeuner café forêt été où à soirée côté pâtes crêpe équipe chambre fenêtre août dîner".split()
    draw, rows = random.Random(8), []
    for _ in range(1000):
        positive = draw.random() < 0.35
        words = []
        for _ in range(draw.randrange(9, 16)):
            telling = good if draw.random() < (0.75 if positive else 0.35) else bad
            words.append(draw.choice(telling if draw.random() < 0.35 else other))
        rows.append([" ".join(words), "génial" if positive else "décevant"])
    return Job("reviews", "tsv", "auc", ["texte", "avis"], ["text", "label"], drawn(rows, 1000, 8)[:950], (450, 200, 300),
               ["--text", "texte"] + AUC_TEXT, "génial")


def sms(data):
    rows = drawn((line.split("\t") for line in packed(data, "sms_spam/sms.tsv.gz")[1:]), 1000, 9)
    return Job("sms", "tsv", "auc", ["label", "text"], ["label", "text"], rows, (450, 200, 350),
               ["--text", "text"] + AUC_TEXT, "spam")


def tweets(data):
    rows = [line.split("\t") for line in packed(data, "sentiment140/train_sample.tsv.gz")[1:]]
    rows = drawn(([target, user, text] for target, user, part, text in rows if part == "random"), 1000, 10)
    return Job("tweets", "tsv", "auc", ["target", "id", "text"], ["label", "other", "text"], rows, (450, 200, 350),
               ["--text", "text"] + AUC_TEXT, "4")


def news(data):
    rows = drawn((line.split("\t") for line in packed(data, "ag_news/dev.tsv.gz")[1:]), 500, 11)
    return Job("news", "csv", "tune", ["label", "text"], ["label", "text"], rows, (200, 100, 200),
               ["--text", "text", "--tune", "l2", "--l2", "1e-3"] + TUNE)


FILES = [magic, german, pima, digits, orders, visits, reviews, sms, tweets, news]

# ---- the distortions: functions of a Job ----

DISTORTIONS = {}
ALWAYS = {  # among the forty of every file that they change
    "semicolon", "decimal comma, semicolon", "UTF-16 LE with BOM", "CR LF", "missing as N/A", "test rows twice",
    "labels in capitals in half of the rows", "training rows twice", "training rows in another order",
    "columns in another order", "no header, label by number", "jsonl of values",
}


def distortion(name):
    def register(function):
        assert name not in DISTORTIONS, name
        DISTORTIONS[name] = function
        return function

    return register


def only_test(name, of):
    change = DISTORTIONS[of]

    def apply(job):
        clean = copy.deepcopy(job)
        change(job)
        job.rows["train"], job.rows["valid"] = clean.rows["train"], clean.rows["valid"]
        job.style["train"], job.style["valid"] = clean.style["train"], clean.style["valid"]

    distortion(name)(apply)


def styled(name, **values):
    distortion(name)(lambda job: job.styles(**values))


def numbers(name, change, **values):
    def apply(job):
        before = copy.deepcopy(job.rows)
        job.map(job.columns("number"), change)
        if job.rows != before:
            job.styles(**values)

    distortion(name)(apply)


# How the table is written.
styled("semicolon", delimiter=";", quotes="needed")
styled("tab in a .csv", extension="csv", delimiter="\t", quotes="needed")
styled("bar", delimiter="|", quotes="needed")
styled("comma in a .tsv", extension="tsv", delimiter=",", quotes="needed")
styled("sep=; above", before="sep=;\n", delimiter=";", quotes="needed")
styled("all quoted", quotes="all")
styled("all quoted, semicolon", quotes="all", delimiter=";")
styled("quoted where needed, tsv", extension="tsv", delimiter="\t", quotes="needed")
styled("quotes behind a backslash", quotes="backslash")
styled("as csv", extension="csv", delimiter=",", quotes="needed")
styled("as all quoted tsv", extension="tsv", delimiter="\t", quotes="all")


def each_line(change):
    return lambda text: "".join(change(at, line) + "\n" for at, line in enumerate(text[:-1].split("\n")))


@distortion("blanks behind the delimiter")
def _(job):
    job.styles(text=each_line(lambda at, line: re.sub("([,\t])(?! )", r"\1 ", line) if not job.columns("text") else line))


@distortion("cells padded")
def _(job):
    job.map(range(len(job.kinds)), lambda cell: f"  {cell}   ")


def trailing(skip):
    def apply(job):
        for part in PARTS:
            style = job.style[part]
            style.text = each_line(lambda at, line, style=style: line + ("" if at < skip else style.delimiter))

    return apply


distortion("a delimiter at every line's end")(trailing(0))
distortion("a delimiter at every row's end")(trailing(1))

# Characters.
styled("UTF-8 with BOM", mark=b"\xef\xbb\xbf")
styled("UTF-16 LE with BOM", encoding="utf-16-le", mark=b"\xff\xfe")
styled("UTF-16 BE with BOM", encoding="utf-16-be", mark=b"\xfe\xff")


@distortion("BOM and all quoted")
def _(job):
    job.styles(mark=b"\xef\xbb\xbf", quotes="all")


def encoded(encoding, flags):
    def apply(job):
        texts = [job.bytes(part).decode("utf-8") for part in PARTS]
        if all(text.isascii() for text in texts):
            return
        for part in PARTS:  # what the encoding lacks would be lost, and the figure with it
            for row in job.rows[part]:
                row[:] = [cell.encode(encoding, "ignore").decode(encoding) for cell in row]
        clean = copy.deepcopy(job)
        job.styles(encoding=encoding)
        job.flags += flags
        job.clean = clean

    return apply


DISTORTIONS.update({
    "windows-1252, not said": encoded("windows-1252", []),
    "windows-1252, said": encoded("windows-1252", ["--encoding", "windows-1252"]),
    "latin-1, not said": encoded("iso-8859-1", []),
    "latin-1, said": encoded("iso-8859-1", ["--encoding", "iso-8859-1"]),
})


def normal_form(form):
    return lambda job: job.map(range(len(job.kinds)), lambda cell: unicodedata.normalize(form, cell))


distortion("Unicode form NFD")(normal_form("NFD"))
only_test("Unicode form NFD, test alone", "Unicode form NFD")


@distortion("no-break blanks")
def _(job):
    job.map(job.columns("text"), lambda cell: cell.replace(" ", "\u00a0"))
    job.map(job.columns("number"), lambda cell: f"\u00a0{cell}\u00a0")


@distortion("full-width digits in numbers")
def _(job):
    job.map(job.columns("number"), lambda cell: "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in cell))


# Lines.
styled("CR LF", ending="\r\n")
styled("CR", ending="\r")
styled("no newline at the end", text=lambda text: text[:-1])
styled("blank lines between", text=each_line(lambda at, line: line + "\n" * (at % 7 == 3)))
styled("blank lines and blanks at the end", text=lambda text: text + "\n  \n\n")
styled("blanks at the ends of lines", text=each_line(lambda at, line: line + "  " * (at % 3 == 1)))
styled("LF and CR LF mixed", text=each_line(lambda at, line: line + "\r" * (at % 2)))
styled("a blank line above", text=lambda text: "\n" + text)
styled("Ctrl-Z at the end", text=lambda text: text + "\x1a")

# Numbers.
def comma(cell):
    return cell.replace(".", ",")


def thousands(mark, decimal="."):
    def change(cell):
        match = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?", cell)
        sign, whole, part = match.groups()
        return sign + f"{int(whole):,}".replace(",", mark) + (decimal + part if part else "")

    return change


numbers("decimal comma, semicolon", comma, delimiter=";", quotes="needed")
numbers("decimal comma, in quotes", comma, extension="csv", delimiter=",", quotes="needed")
numbers("decimal comma, tab", comma, extension="tsv", delimiter="\t", quotes="never")
only_test("decimal comma, test alone", "decimal comma, in quotes")
numbers("thousands by comma", thousands(","), extension="csv", delimiter=",", quotes="needed")
numbers("thousands by no-break blank", thousands("\u202f"))
numbers("thousands by blank", thousands(" "))
numbers("thousands by apostrophe", thousands("'"))
numbers("thousands by point, semicolon", thousands(".", ","), delimiter=";", quotes="needed")
numbers("thousands by point, tab", thousands(".", ","), extension="tsv", delimiter="\t", quotes="never")
numbers("thousands by apostrophe ’", thousands("’"))
only_test("thousands by comma, test alone", "thousands by comma")
numbers("$ before", lambda cell: ("-$" + cell[1:]) if cell[0] == "-" else "$" + cell)
numbers("$ before, thousands by comma", lambda cell: "$" + thousands(",")(cell), extension="csv", delimiter=",",
        quotes="needed")
numbers("€ behind, decimal comma", lambda cell: thousands(".", ",")(cell) + " €", delimiter=";", quotes="needed")
numbers("EUR before", lambda cell: "EUR " + cell)
numbers("£ before in some cells", lambda cell, at: cell if at % 3 or cell[0] == "-" else "£" + cell)
numbers("per cent", lambda cell: cell + "%")
numbers("per cent behind a blank", lambda cell: cell + " %")
numbers("plus signs", lambda cell: cell if cell[0] == "-" else "+" + cell)
numbers("minus U+2212", lambda cell: cell.replace("-", "\u2212"))
numbers("parentheses for minus", lambda cell: f"({cell[1:]})" if cell[0] == "-" else cell)
numbers("minus behind", lambda cell: cell[1:] + "-" if cell[0] == "-" else cell)
numbers("as powers of ten", lambda cell: f"{float(cell):.8E}")
numbers("zeros behind the point", lambda cell: cell + ("00" if "." in cell else ".00"))
numbers("whole numbers as 1.0 in some cells", lambda cell, at: cell if at % 2 or "." in cell else cell + ".0")
numbers("zeros before", lambda cell: ("-00" + cell[1:]) if cell[0] == "-" else "00" + cell)
numbers("no zero before the point", lambda cell: re.sub(r"^(-?)0\.", r"\1.", cell))
numbers("a unit behind, 12 kg", lambda cell: cell + " kg")
numbers("as Excel's text, '12", lambda cell: "'" + cell)
numbers('as formula, ="12"', lambda cell: f'="{cell}"', quotes="needed")


# Marks of missing values.
def marks(*texts):
    def apply(job):
        for part in PARTS:
            for at, row in enumerate(job.rows[part]):
                for column in job.columns("number", "date", "moment", "category"):
                    if row[column] == "":
                        row[column] = texts[at % len(texts)]

    return apply


for mark in ("N/A", "NA", "NULL", "null", "None", "NaN", "?", "-", "--", ".", "#N/A", "n/a", "missing"):
    distortion(f"missing as {mark}")(marks(mark))
distortion("missing as NA, NULL, ? by turns")(marks("NA", "NULL", "?", ""))


@distortion("missing as -999, said")
def _(job):
    marks("-999")(job)
    job.flags += ["--missing", "-999"] if any("-999" in row for row in job.rows["train"]) else []


only_test("missing as N/A, test alone", "missing as N/A")


# Labels.
def labels(name, change, positive=None):
    def apply(job):
        job.map([job.kinds.index("label")], change)
        if positive and job.positive:
            job.positive = positive(job.positive)

    distortion(name)(apply)


def whole(cell):
    return cell + ".0" if cell.isdigit() else cell


labels("labels in capitals", lambda cell: cell.upper(), positive=str.upper)
labels("labels in capitals in half of the rows", lambda cell, at: cell.upper() if at % 2 else cell)
distortion("labels in capitals, test alone")(
    lambda job: job.map([job.kinds.index("label")], lambda cell: cell.upper(), ["test"]))
labels("labels with blanks around", lambda cell, at: f" {cell} " if at % 2 else cell)
labels("labels with no-break blanks behind", lambda cell, at: cell + "\u00a0" if at % 2 else cell)
labels("labels with two blanks inside", lambda cell, at: cell.replace("/", " / ") if at % 2 else cell)
labels("labels full-width in half of the rows",
       lambda cell, at: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in cell) if at % 2 else cell)
labels("labels in NFD in half of the rows", lambda cell, at: unicodedata.normalize("NFD", cell) if at % 2 else cell)
labels("labels 1.0 for 1", whole)
labels("labels 1.0 for 1 in half of the rows", lambda cell, at: whole(cell) if at % 2 else cell)
labels("labels 01 for 1", lambda cell: "0" + cell if cell.isdigit() else cell)
labels("labels 1e0 for 1", lambda cell: cell + "e0" if cell.isdigit() else cell)
only_test("labels 1.0 for 1, test alone", "labels 1.0 for 1")


def truth(spelling):
    def apply(job):
        if job.positive:
            said = job.positive
            job.map([job.kinds.index("label")], lambda cell, at: spelling(cell == said, at))
            job.positive = spelling(True, 0)

    return apply


DISTORTIONS.update({
    "labels True and False": truth(lambda value, at: str(value)),
    "labels TRUE and True by turns": truth(lambda value, at: str(value).upper() if at % 2 else str(value)),
    "labels yes and YES by turns": truth(lambda value, at: ("YES" if at % 2 else "yes") if value else "no"),
})


def unlabelled(flags):
    def apply(job):
        at = job.kinds.index("label")
        for part in PARTS:
            more = [list(row) for row in job.rows[part][5:10]]
            for row in more:
                row[at] = ""
            job.rows[part][20:20] = more
        job.flags += flags

    return apply


DISTORTIONS.update({
    "rows without label": unlabelled([]),
    "rows without label, --drop-unlabelled": unlabelled(["--drop-unlabelled"]),
})


# Rows and columns.
@distortion("test rows twice")
def _(job):
    job.map_rows(lambda rows: rows + copy.deepcopy(rows), ["test"])


@distortion("training rows twice")
def _(job):
    job.map_rows(lambda rows: [copy.copy(row) for row in rows for _ in range(2)], ["train"])
    if job.command == "auc":
        strength = 5 if job.columns("text") else 80
        job.base_flags += ["--no-refit", "--l2", str(strength)]
        job.clean = copy.deepcopy(job)
        job.clean.rows["train"] = job.rows["train"][::2]
        job.base_flags[-1] = str(2 * strength)


@distortion("training rows in another order")
def _(job):
    job.map_rows(lambda rows: random.Random(12).sample(rows, len(rows)), ["train", "valid"])


@distortion("training rows sorted by label")
def _(job):
    at = job.kinds.index("label")
    job.map_rows(lambda rows: sorted(rows, key=lambda row: row[at]), ["train"])


@distortion("test rows in another order")
def _(job):
    job.map_rows(lambda rows: random.Random(13).sample(rows, len(rows)), ["test"])


@distortion("columns in another order")
def _(job):
    order = random.Random(14).sample(range(len(job.kinds)), len(job.kinds))
    order = order[::-1] if order == sorted(order) else order
    job.kinds, job.header = [job.kinds[at] for at in order], [job.header[at] for at in order]
    job.map_rows(lambda rows: [[row[at] for at in order] for row in rows])


@distortion("columns in another order, test alone")
def _(job):
    for part in ("test",):
        style = copy.copy(job.style[part])
        rows = [list(row[::-1]) for row in [job.header] + job.rows[part]]
        job.style[part].text = lambda _: write_table(rows, style)


@distortion("a column more, test alone")
def _(job):
    style = copy.copy(job.style["test"])
    rows = [["note"] + job.header] + [["x"] + row for row in job.rows["test"]]
    job.style["test"].text = lambda _: write_table(rows, style)


@distortion("a column less, test alone")
def _(job):
    column = next((at for at, kind in enumerate(job.kinds) if kind in ("number", "text")))
    style = copy.copy(job.style["test"])
    rows = [row[:column] + row[column + 1 :] for row in [job.header] + job.rows["test"]]
    job.style["test"].text = lambda _: write_table(rows, style)


def extra(name, column, kind, cell, first=False):
    distortion(name)(lambda job: job.add(column, kind, cell, first))


extra("row numbers called row_id", "row_id", "other", lambda at, draw: str(at + 1))
extra("row numbers without a name", "", "other", lambda at, draw: str(at), first=True)
extra("random codes of letters", "key", "other", lambda at, draw: f"{draw.getrandbits(64):016x}")
extra("random numbers called customer_id", "customer_id", "other", lambda at, draw: str(draw.randrange(10**8, 10**9)))
extra("a constant word", "source", "other", lambda at, draw: "export")
extra("a constant number", "version", "other", lambda at, draw: "3")
extra("an empty column", "note", "other", lambda at, draw: "")
extra("an empty column without a name", "", "other", lambda at, draw: "")
extra("a column of short texts", "remark", "other", lambda at, draw: " ".join(
    draw.choice("call back the customer on monday about order delivery invoice of may".split()) for _ in range(5)))
extra("addresses of mail", "mail", "other", lambda at, draw: f"user{draw.getrandbits(30)}@example.org")
extra("time of the export", "exported", "other", lambda at, draw: "2024-08-18T14:05:00Z")


@distortion("the label in other words")
def _(job):
    at = job.kinds.index("label")
    names = sorted({row[at] for row in job.rows["train"]})
    job.header.append("outcome")
    job.kinds.append("other")
    for part in PARTS:
        for row in job.rows[part]:
            row.append("kind " + "abcdefghij"[names.index(row[at])])


@distortion("a column's name twice")
def _(job):
    job.add(job.header[next(at for at, kind in enumerate(job.kinds) if kind in ("number", "text"))], "other",
            lambda at, draw: str(draw.randrange(9)))


# Header.
@distortion("no header, label by number")
def _(job):
    job.styles(header=False)
    job.flags = [str(job.header.index(flag) + 1) if flag in job.header else flag for flag in job.flags]
    job.label = str(job.header.index(job.label) + 1)
    job.flags += [] if job.columns("number") else ["--no-header"]


styled("no header, label by name", header=False)


@distortion("years as names")
def _(job):
    for year, column in enumerate(job.columns("number")):
        job.header[column] = str(1970 + year)


@distortion("numbers as names")
def _(job):
    for at, column in enumerate(job.columns("number")):
        job.header[column] = str(at)


@distortion("names in capitals")
def _(job):
    job.header = [name.upper() for name in job.header]


@distortion("names with blanks around")
def _(job):
    job.header = [f" {name} " for name in job.header]


styled("a comment above", before="# exported on Monday\n")


@distortion("a title above")
def _(job):
    for part in PARTS:
        style = job.style[part]
        style.text = lambda text, style=style: "Report" + style.delimiter * (len(job.header) - 1) + "\n" + text


@distortion("the header again in the middle")
def _(job):
    header = list(job.header)
    job.map_rows(lambda rows: rows[:30] + [list(header)] + rows[30:], ["train"])


styled("a line of the sum at the end", text=lambda text: text + "Total: 1234\n")


@distortion("a short row")
def _(job):
    delimiter = job.style["train"].delimiter
    job.styles(["train"], text=each_line(lambda at, line: line.rsplit(delimiter, 1)[0] if at == 40 else line))


# Packing and other formats.
def zstd(data):
    """A frame of raw blocks: nothing is compressed, and the standard library needs no compressor."""
    out, size = b"\x28\xb5\x2f\xfd\x00\x58", 1 << 16
    blocks = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    for at, block in enumerate(blocks):
        out += (len(block) << 3 | (at == len(blocks) - 1)).to_bytes(3, "little") + block
    return out


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("data.csv", data)
    return out.getvalue()


def halves(data):
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])


def packing(name, pack, suffix):
    def apply(job):
        for part in PARTS:
            job.style[part].pack = pack
            job.style[part].extension += suffix

    distortion(name)(apply)


packing("gzip", gzip.compress, ".gz")
packing("gzip, name without .gz", gzip.compress, "")
packing("gzip of two members", halves, ".gz")
packing("zstd", zstd, ".zst")
packing("xz", lzma.compress, ".xz")
packing("zip", zipped, ".zip")
only_test("gzip, test alone", "gzip")


def json_text(job, row):
    return json.dumps(row, ensure_ascii=False)


def json_ascii(job, row):
    return json.dumps({**row, "nested": {"a": [1, 2]}} if job.columns("text") else row)


def json_number(text):
    return text.lstrip("-").replace(".", "", 1).isdigit() and not re.match(r"-?0\d", text)


def json_values(job, row, absent=False):
    kinds = dict(zip(job.header, job.kinds))
    cells = []
    for name, cell in row.items():
        if cell == "" and absent:
            continue
        if cell == "":
            value = "null"
        elif kinds[name] in ("number", "label", "other") and json_number(cell):
            value = cell
        else:
            value = json.dumps(cell, ensure_ascii=False)
        cells.append(f"{json.dumps(name)}: {value}")
    return "{" + ", ".join(cells) + "}"


styled("jsonl of texts", extension="jsonl", json_row=json_text)
styled("jsonl of values", extension="jsonl", json_row=json_values)
styled("jsonl, missing keys absent", extension="ndjson", json_row=lambda job, row: json_values(job, row, True))
styled("jsonl, escaped, a nested field", extension="jsonl", json_row=json_ascii)
only_test("jsonl, test alone", "jsonl of values")


@distortion("as tsv")
def _(job):
    if job.style["train"].extension == "csv" and not job.columns("text"):
        job.styles(extension="tsv", delimiter="\t", quotes="never")


@distortion("called .txt, --format")
def _(job):
    job.flags += ["--format", job.style["train"].extension]
    job.styles(extension="txt")


styled("called .txt, no --format", extension="txt")


@distortion("called .CSV")
def _(job):
    job.styles(extension=job.style["train"].extension.upper())


@distortion("from standard input")
def _(job):
    job.stdin = True
    job.flags += ["--format", job.style["train"].extension]


# Dates.
def dates(name, form, **values):
    """form(date, time), time being "" in a column of dates alone."""

    def apply(job):
        columns = job.columns("date", "moment")
        if columns:
            job.map(columns, lambda cell: form(datetime.date.fromisoformat(cell[:10]), cell[11:]))
            job.styles(**values)

    distortion(name)(apply)


def behind(text, time):
    return text + (" " + time if time else "")


def clock(time):
    return datetime.time.fromisoformat(time).strftime("%I:%M %p").lstrip("0") if time else ""


dates("dates 18.08.2024", lambda d, t: behind(d.strftime("%d.%m.%Y"), t))
dates("dates 08/18/2024", lambda d, t: behind(d.strftime("%m/%d/%Y"), t))
dates("dates 18/08/2024", lambda d, t: behind(d.strftime("%d/%m/%Y"), t))
dates("dates 8/18/24", lambda d, t: behind(f"{d.month}/{d.day}/{d:%y}", t))
dates("dates 18.8.24", lambda d, t: behind(f"{d.day}.{d.month}.{d:%y}", t))
dates("dates 18 Aug 2024", lambda d, t: behind(f"{d.day} {MONTHS[d.month - 1]} {d.year}", t))
dates("dates 18-Aug-2024", lambda d, t: behind(f"{d.day}-{MONTHS[d.month - 1]}-{d.year}", t))
dates("dates Aug 18, 2024", lambda d, t: behind(f"{MONTHS[d.month - 1]} {d.day}, {d.year}", t), quotes="needed")
dates("dates 18. August 2024", lambda d, t: behind(f"{d.day}. {GERMAN_MONTHS[d.month - 1]} {d.year}", t))
dates("dates 2024/08/18", lambda d, t: behind(d.strftime("%Y/%m/%d"), t))
dates("dates 2024-08-18T00:00:00Z", lambda d, t: f"{d}T{t or '00:00'}:00Z")
dates("dates 2024-08-18 00:00:00.000", lambda d, t: f"{d} {t or '00:00'}:00.000")
dates("dates 2024-08-18T00:00:00+02:00", lambda d, t: f"{d}T{t or '00:00'}:00+02:00")
dates("dates 20240818", lambda d, t: behind(d.strftime("%Y%m%d"), t))
dates("dates Sun, 18 Aug 2024", lambda d, t: behind(f"{d:%a}, {d.day} {MONTHS[d.month - 1]} {d.year}", t), quotes="needed")
dates("times 2:05 PM", lambda d, t: behind(str(d), clock(t)))
dates("times 2:05pm", lambda d, t: behind(str(d), clock(t).lower().replace(" ", "")))
only_test("dates 18.08.2024, test alone", "dates 18.08.2024")
only_test("dates 08/18/2024, test alone", "dates 08/18/2024")

# Texts.


@distortion("text in capitals")
def _(job):
    job.map(job.columns("text"), lambda cell: cell.upper() if cell.upper().lower() == cell.lower() else cell)


@distortion("line breaks in texts")
def _(job):
    if job.columns("text"):
        job.map(job.columns("text"), lambda cell: cell.replace(" ", "\n", 1))
        job.styles(extension="csv", delimiter=",", quotes="needed")


@distortion("CR LF in texts and between rows")
def _(job):
    if job.columns("text"):
        job.map(job.columns("text"), lambda cell: cell.replace(" ", "\n", 1))
        job.styles(extension="csv", delimiter=",", quotes="needed", ending="\r\n")


@distortion("two blanks for one in texts")
def _(job):
    job.map(job.columns("text"), lambda cell: cell.replace(" ", "  "))


@distortion("blanks around texts")
def _(job):
    job.map(job.columns("text"), lambda cell: f"  {cell} ")


@distortion("text not named")
def _(job):
    if "--text" in job.flags:
        at = job.flags.index("--text")
        del job.flags[at : at + 2]


@distortion("tabs in texts, quoted")
def _(job):
    if job.columns("text"):
        job.map(job.columns("text"), lambda cell: cell.replace(" ", "\t", 1))
        job.styles(quotes="needed")


# ---- running ----


def distorted(job, change):
    """The distorted job, or None where neither bytes nor command change; `clean` is what to compare it with."""
    out = copy.deepcopy(job)
    out.clean = job
    change(out)
    return None if out.fingerprint() == out.clean.fingerprint() else out


def run(program, job, folder):
    os.makedirs(folder)
    for part in PARTS:
        with open(os.path.join(folder, job.file(part)), "wb") as file:
            file.write(job.bytes(part))
    command = [os.path.abspath(program)] + job.arguments() + ["--out", "out", "--json"]
    stdin = open(os.path.join(folder, job.file("train")), "rb") if job.stdin else subprocess.DEVNULL
    try:
        done = subprocess.run(command, cwd=folder, stdin=stdin, capture_output=True, timeout=300,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})
        code, out, said = done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        code, out, said = 124, b"", "no end within 300 s"
    shutil.rmtree(os.path.join(folder, "out"), ignore_errors=True)
    text = shlex.join(["bilevel"] + command[1:-1]) + (f" < {job.file('train')}" if job.stdin else "")
    with open(os.path.join(folder, "command.txt"), "w", encoding="utf-8") as file:
        file.write(text + "\n\n" + said)
    result = {"code": code, "said": said.replace("\r", "\n").strip(), "command": text, "figure": None, "warnings": []}
    # What a run doubts of a file, also where the summary lacks it. How the fields are parted is no doubt.
    notes = re.findall(r"^(?:train|valid|test)\.\w[^\n]*: [^\n]+", result["said"], re.M)
    result["notes"] = [note for note in notes if ": fields stand between" not in note]
    if code == 0:
        summary = json.loads(out)
        result["figure"] = summary["metrics"]["test"]["auc" if job.command == "auc" else "accuracy"]
        result["warnings"] = summary["warnings"]
    return result


def message(said):
    """The error, without the lines of progress before it."""
    at = said.find("bilevel")
    return " ".join((said if at < 0 else said[at:]).split())


def judge(result, clean):
    if result["code"] == 2:
        return "refused", message(result["said"])
    if result["code"] != 0:
        return "BROKEN", f"exit code {result['code']}: {message(result['said'])}"
    if abs(result["figure"] - clean["figure"]) <= TOLERANCE:
        return "same", ""
    old = clean["notes"] + clean["warnings"]
    news = [note for note in dict.fromkeys(result["notes"] + result["warnings"]) if note not in old]
    return ("OTHER FIGURE, said" if news else "OTHER FIGURE"), " ".join(news)


def chosen(jobs, every):
    """The distortions of each file: those always made, and of the others those that the fewest files before it had."""
    assert DISTORTIONS.keys() >= ALWAYS, ALWAYS - DISTORTIONS.keys()
    changed = {job.name: {name: distorted(job, change) for name, change in DISTORTIONS.items()} for job in jobs}
    uses, out = dict.fromkeys(DISTORTIONS, 0), {}
    for job in jobs:
        able = [name for name, other in changed[job.name].items() if other]
        order = sorted(able, key=lambda name: (name not in ALWAYS, uses[name]))
        out[job.name] = {name: changed[job.name][name] for name in (able if every else order[:FORTY])}
        for name in out[job.name]:
            uses[name] += 1
    return out


def slug(name):
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^\w.+-]+", "_", text).strip("_.") + f"-{sum(name.encode()) % 997}"


def table(results, files, names):
    marks = {"same": "=", "refused": "r", "OTHER FIGURE": "X", "OTHER FIGURE, said": "x", "BROKEN": "!"}
    width = max(map(len, names))
    print("\n" + " " * width, *files)
    for name in names:
        cells = [results.get((file, name)) for file in files]
        shown = [marks[cell["class"]] if cell else "" for cell in cells]
        print(f"{name:{width}}", *(f"{mark:^{len(file)}}" for mark, file in zip(shown, files)))
    print()
    for kind, mark in marks.items():
        print(f"{sum(result['class'] == kind for result in results.values()):4}  {mark}  {kind}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="build/bilevel")
    parser.add_argument("--data", default=os.environ.get("BILEVEL_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    if os.path.exists(given.out) and os.listdir(given.out):
        sys.exit(f"{given.out} is not empty")

    jobs = [make(given.data) for make in FILES]
    wanted = chosen(jobs, given.all or bool(given.only))
    if given.only:
        wanted = {file: {name: job for name, job in of.items() if {file, name, f"{file}/{name}"} & set(given.only)}
                  for file, of in wanted.items()}
    pairs = [(file, name, job) for file, of in wanted.items() for name, job in of.items()]
    bases = {}
    for file, name, job in pairs:
        folder = os.path.join(given.out, file, "clean-" + slug(name))
        bases.setdefault(repr(job.clean.fingerprint()), (job.clean, folder))

    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        clean = dict(zip(bases, pool.map(lambda base: run(given.program, *base), bases.values())))
        for base in clean.values():
            if base["code"] != 0:
                sys.exit(f"a clean file is not read: {base['command']}\n{base['said']}")
        folders = [os.path.join(given.out, file, slug(name)) for file, name, _ in pairs]
        runs = pool.map(lambda work: run(given.program, work[0][2], work[1]), zip(pairs, folders))
        results = {}
        for (file, name, job), folder, result in zip(pairs, folders, runs):
            base = clean[repr(job.clean.fingerprint())]
            result["class"], result["text"] = judge(result, base)
            result["clean"] = base["figure"]
            results[file, name] = result
            if result["class"] == "same":
                shutil.rmtree(folder)
            else:
                figures = f"  {result['clean']:.4f} -> {result['figure']:.4f}" if result["figure"] is not None else ""
                print(f"{file} / {name}: {result['class']}{figures}\n    {result['text']}", flush=True)

    table(results, list(wanted), [name for name in DISTORTIONS if any((file, name) in results for file in wanted)])
    with open(os.path.join(given.out, "distortions.tsv"), "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, delimiter="\t", lineterminator="\n")
        out.writerow(["file", "distortion", "class", "clean", "distorted", "code", "text", "command"])
        for (name, what), result in results.items():
            figure = "" if result["figure"] is None else f"{result['figure']:.6f}"
            out.writerow([name, what, result["class"], f"{result['clean']:.6f}", figure, result["code"], result["text"],
                          result["command"]])
    sys.exit(any(result["class"] not in ("same", "refused") for result in results.values()))


if __name__ == "__main__":
    main()

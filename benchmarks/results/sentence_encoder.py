"""The sentence encoder beside the reference implementation: tokens, vectors and speed."""
import gzip
import pathlib
import random

TITLE = "Sentence encoder"
DEPENDS = ["benchmarks/sentence_benchmark.cpp", "benchmarks/results/sentence_encoder.py", "bilevel/data/word_piece.cpp",
           "bilevel/model/bert.cpp", "bilevel/task/sentence_encoder.cpp"]
TEXTS, VECTORS, SHORT, BATCH, LAYERS = 10_000, 1_000, 2_000, 32, 3
SETS = ["ag_news/test.tsv.gz", "sentence/mr.tsv.gz", "sentence/sst2_train.tsv.gz", "sentence/subj.tsv.gz",
        "sentence/trec_train.tsv.gz", "sentiment140/train_sample.tsv.gz", "sms_spam/sms.tsv.gz", "fewshot_topic/huffpost.tsv.gz",
        "nli/snli_validation.tsv.gz", "amazon_fdu_mtl/fdu_mtl.tsv.gz"]
MADE = ["Ünïcödé naïve CAFÉ, İstanbul Straße ﬁne Ⅷ", "Η γρήγορη αλεπού πηδάει πάνω από τον σκύλο", "Быстрая лисица; ёжик и съёмка!",
        "الثعلب البني السريع، يقفز فوق الكلب؟", "השועל החום המהיר קופץ", "तेज़ भूरी लोमड़ी आलसी कुत्ते पर कूदती है।",
        "สุนัขจิ้งจอกสีน้ำตาลกระโดด", "ჩქარი მელა ხტება ძაღლს", "敏捷的棕色狐狸跳过懒狗。", "すばやい茶色の狐がのろまな犬を飛び越える",
        "빠른 갈색 여우가 게으른 개를 뛰어넘는다", "Արագ շագանակագույն աղվեսը", "emoji 👍🏽 👨‍👩‍👧 :-) e\u0301 a\u200bb \u00a0x\u00adly",
        "[SEP] [MASK] [mask] [[CLS]] ##ing", "x" * 100 + " " + "y" * 101, "", " ", "$5.00 50% C++ <3 ^_^ ~`|"]


def texts_of(run):
    """Texts of all sets in equal numbers, and the made ones."""
    draw, texts = random.Random(100), []
    for name in SETS:
        with gzip.open(run.data(name), "rt", encoding="utf-8", newline="\n") as file:
            header, *rows = (line.rstrip("\n").split("\t") for line in file)
        column = next(header.index(c) for c in ("text", "premise") if c in header)
        texts += [row[column] for row in draw.sample(rows, TEXTS // len(SETS))]
    draw.shuffle(texts)
    return texts + MADE


def encoded(run, texts, name):
    """What the benchmark program makes of texts: its file's tensors and printed numbers."""
    path, out = pathlib.Path(run.folder) / f"{name}.txt", pathlib.Path(run.folder) / f"{name}.safetensors"
    path.write_bytes("".join(text + "\n" for text in texts).encode())
    different, tokens, seconds = run.benchmark("sentence_benchmark", ["minilm", path, out]).split()
    return run.module("safetensors.torch").load_file(out), int(different), int(tokens), float(seconds)


def reference(run, folder, texts):
    """Mean vectors of the last three layers, each of length 1, by `transformers`, in batches."""
    torch, transformers = run.module("torch"), run.module("transformers")
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(folder), transformers.AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for begin in range(0, len(texts), BATCH):
            batch = tokenizer(texts[begin:begin + BATCH], padding=True, truncation=True, max_length=256, return_tensors="pt")
            mask = batch["attention_mask"].unsqueeze(-1).float()
            layers = model(**batch, output_hidden_states=True).hidden_states[:-LAYERS - 1:-1]
            means = [(layer * mask).sum(1) / mask.sum(1) for layer in layers]
            rows.append(torch.cat([torch.nn.functional.normalize(mean) for mean in means], 1))
    return torch.cat(rows)


def table(run):
    transformers = run.module("transformers")
    folder = str(run.program.parent / "encoder" / "minilm")
    texts = texts_of(run)
    own, *_ = encoded(run, texts, "texts")
    offsets = own["offsets"].tolist()
    expected = transformers.AutoTokenizer.from_pretrained(folder)(texts, truncation=True, max_length=256)["input_ids"]
    other = sum(own["tokens"][offsets[i]:offsets[i + 1]].tolist() != tokens for i, tokens in enumerate(expected))
    chosen = list(range(VECTORS)) + list(range(len(texts) - len(MADE), len(texts)))
    difference = (own["vectors"][chosen] - reference(run, folder, [texts[i] for i in chosen])).abs().max().item()
    short = random.Random(101).sample([text for text in texts if 3 <= len(text.split()) <= 20], SHORT)
    _, different, tokens, seconds = encoded(run, short, "short")
    return "\n".join([
        f"all-MiniLM-L6-v2 beside `transformers` {transformers.__version__}, on one thread.", "", "| what | |", "|---|---|",
        f"| texts of ten data sets and {len(MADE)} made ones in twelve scripts with other tokens | {other} of {len(texts):,} |",
        f"| largest difference of an entry of {len(chosen):,} texts' three vectors of length 1 | {difference:.1e} |",
        f"| sentences of 3 to 20 words, {tokens / different:.0f} tokens on average, that a core encodes a second (processor time) | "
        f"{different / seconds:.0f} |"])

"""No file of bilevel/task/ is longer than 300 lines and no function there longer than 60, but for those named here; and no two
headers define a type of the same name, of which the linker would silently take one for both."""
import collections
import pathlib
import re
import unittest

TASK = pathlib.Path(__file__).resolve().parent.parent / "bilevel" / "task"
MOST_LINES, MOST_FUNCTION_LINES = 300, 60

# Path below bilevel/task/ (and the function): the reason.
EXCEPTIONS = {}


def without_texts(source):
    """The source with comments and literals blanked, its lines as they were."""
    pattern = r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), source, flags=re.S)


def functions(source):
    """(name, lines) of every function that is defined in a namespace or a class."""
    text, found, stack, start = without_texts(source), [], [], 0
    for match in re.finditer(r"[{};]", text):
        at, kind = match.start(), match.group()
        head = text[start:at].strip()
        if kind == "{":
            if any(block != "container" for block, _, _ in stack) or not text[at - 1].isspace():
                block = "inner"  # or the value of a member: member_{1}
            elif re.search(r"\b(namespace|class|struct|union|enum)\b[^()=]*$", head):
                block = "container"
            else:
                block = "function" if ")" in head and not head.endswith("=") else "inner"
            name = re.search(r"([\w:~]+)\s*\(", head)
            first = start + len(text[start:at]) - len(text[start:at].lstrip())
            stack.append((block, name.group(1) if name else "?", text.count("\n", 0, first)))
        elif kind == "}":
            block, name, first = stack.pop()
            if block == "function":
                found.append((name, text.count("\n", 0, at) - first + 1))
        if kind == ";" or block != "inner":
            start = at + 1
    return found


class Limits(unittest.TestCase):
    def test_lengths(self):
        beyond = {}
        for path in sorted(TASK.rglob("*")):
            if path.suffix not in (".h", ".cpp") or path.stem.endswith("_test"):
                continue
            name, source = path.relative_to(TASK).as_posix(), path.read_text()
            if source.count("\n") > MOST_LINES:
                beyond[name] = source.count("\n")
            beyond.update((f"{name} {function}", lines) for function, lines in functions(source) if lines > MOST_FUNCTION_LINES)
        self.assertEqual({what: lines for what, lines in beyond.items() if what not in EXCEPTIONS}, {}, "split these")
        self.assertEqual([what for what in EXCEPTIONS if what not in beyond], [], "no exceptions any more")

    def test_every_type_name_stands_in_one_header(self):
        headers = collections.defaultdict(set)
        for path in TASK.parent.rglob("*.h"):
            for name in re.findall(r"^(?:struct|class|enum class) (\w+)(?![\w<])[^;{]*\{", path.read_text(), re.M):
                headers[name].add(path.relative_to(TASK.parent).as_posix())
        self.assertGreater(len(headers), 200)
        self.assertEqual({name: sorted(where) for name, where in headers.items() if len(where) > 1}, {}, "rename one")

    def test_functions_are_found(self):
        source = """namespace a {
        struct B : C<int> { int f() const { return g({1}); }
          B(int x)
              : x_{x}, y_(1) {
            if (x) { h("}"); }
          }
          int x_ = 0; };
        const auto k = [] { return 1; };
        std::vector<int> long_one(
            int a) {
          // }
          for (;;) { auto l = [&](int) { return '}'; }; }
        }
        }"""
        self.assertEqual(functions(source), [("f", 1), ("B", 4), ("long_one", 5)])


if __name__ == "__main__":
    unittest.main()

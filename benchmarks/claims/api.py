"""Write docs/api.md from the docstrings of the public names.

    python -m feedline.benchmarks.claims.api

The documentation is Markdown that is read on GitHub, without a site of its own. Generators such as pdoc and
mkdocstrings make sites. So the page is written here from the source, by ``ast`` alone: the docstrings below fields and
constants are not kept when Python runs, and the text does not depend on the versions of Python and torch. A test
compares the page.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "docs" / "api.md"
FLOORS = ("prep", "loaders", "train", "benchmarks")
HEAD = """# API

This page lists the public names of feedline with their docstrings. It is written by a command; change the docstrings
instead:

    python -m feedline.benchmarks.claims.api

[What is stable](stability.md) says which of them may change. Names that are not listed here are internal. A class that
lists fields is a frozen dataclass with keyword arguments, unless it is an error or a protocol. Every error that
feedline raises on purpose is a `FeedlineError`; a function's text names those that a caller can expect.
"""
Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


class Undocumented(Exception):
    """A public name that has no docstring, or is not found."""


def page() -> str:
    """Return docs/api.md. Raises Undocumented."""
    exported = {floor: _names(TOP / floor / "__init__.py") for floor in FLOORS}
    parts = [HEAD, _front(exported)]
    for floor, names in exported.items():
        parts.append(f"## feedline.{floor}\n\n{_text(_docstring(_tree(TOP / floor / '__init__.py')))}\n")
        parts += [_entry(name, TOP / floor / "__init__.py") for name in names]
    return "\n".join(parts).rstrip() + "\n"


def _front(exported: dict[str, list[str]]) -> str:
    lines = ["## feedline", "", "The names that most programs need can be imported from `feedline` itself:", ""]
    for floor, held in _homes().items():
        if missing := set(held) - set(exported[floor]):
            raise Undocumented(f"feedline exports {missing}, which feedline.{floor} does not")
        lines.append(f"- of `feedline.{floor}`: " + ", ".join(f"[`{name}`](#{name.lower()})" for name in held))
    lines.append("- `feedline.train` is the package and, called, its function `train`; `feedline.__version__` is text")
    return "\n".join(lines) + "\n"


def _homes() -> dict[str, tuple[str, ...]]:
    """Return the names of the front door by the floor that they come from."""
    for node in _tree(TOP / "__init__.py").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return ast.literal_eval(node.value)
    raise Undocumented(f"{TOP / '__init__.py'} has no _HOMES")


def _names(init: Path) -> list[str]:
    for node in _tree(init).body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "__all__"
            and isinstance(node.value, ast.List)
        ):
            return [str(ast.literal_eval(name)) for name in node.value.elts if isinstance(name, ast.Constant)]
    raise Undocumented(f"{init} has no list __all__")


def _entry(name: str, init: Path) -> str:
    node, documentation = _definition(name, init)
    title = f"### {name}\n"
    if isinstance(node, ast.FunctionDef):
        return f"{title}\n{_block(_signature(node))}\n{_text(documentation)}\n"
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        parts = [title, _block(f"class {name}({bases})" if bases else f"class {name}"), _text(documentation), ""]
        return "\n".join([*parts, *_members(node)])
    value = ast.unparse(node.value) if node.value else ""
    shown = f"{name} = {value}" if len(value) < 80 else name
    return f"{title}\n{_block(shown)}\n{_text(documentation)}\n"


def _members(node: ast.ClassDef) -> Iterator[str]:
    fields = [
        (member, text)
        for member, text in _with_text(node.body)
        if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_")
    ]
    for member, text in fields:
        default = f" = {_default(member.value)}" if member.value else ""
        said = f"  \n  {_text(text).replace(chr(10), chr(10) + '  ')}" if text else ""
        yield f"- `{ast.unparse(member.target)}: {ast.unparse(member.annotation)}{default}`{said}"
    if fields:
        yield ""
    for member in node.body:
        if not isinstance(member, ast.FunctionDef) or (member.name.startswith("_") and member.name != "__getitem__"):
            continue
        text = ast.get_docstring(member)
        marks = {ast.unparse(mark) for mark in member.decorator_list}
        if "property" in marks:
            yield f"- `{member.name}: {ast.unparse(member.returns) if member.returns else 'Any'}`"
        else:
            yield f"- `{_signature(member)}`"
        if text:
            yield "\n" + "\n".join(f"  {line}".rstrip() for line in _text(text).splitlines())
        yield ""


def _default(value: ast.expr) -> str:
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        for keyword in value.keywords:
            if keyword.arg == "default_factory":
                return re.sub(r"\[.*", "", ast.unparse(keyword.value)) + "()"
    return ast.unparse(value)


def _signature(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args)
    arguments = re.sub(r"^(self|cls)(, |$)", "", arguments)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({arguments}){returns}"


def _definition(name: str, path: Path) -> tuple[Definition, str]:
    """Return what ``name`` is in a module, with its docstring; an import is followed."""
    for node, text in _with_text(_tree(path).body):
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(alias.name, _module(path, node))
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            documentation = ast.get_docstring(node)
            if not documentation:
                raise Undocumented(f"{path}, line {node.lineno}: {name} needs a docstring")
            return node, documentation
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(target) == name:
                if not text:
                    raise Undocumented(f"{path}, line {node.lineno}: {name} needs a docstring below it")
                return node, text
    raise Undocumented(f"{path} has no {name}")


def _module(path: Path, node: ast.ImportFrom) -> Path:
    folder = path.parent.joinpath(*[".."] * (node.level - 1), *(node.module or "").split(".")).resolve()
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _with_text(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Yield each statement with the text that stands below it, if that is a docstring."""
    for place, node in enumerate(body):
        below = body[place + 1] if place + 1 < len(body) else None
        said = below.value if isinstance(below, ast.Expr) else None
        text = said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else ""
        yield node, re.sub(r"\n +", "\n", text.strip())


def _docstring(tree: ast.Module) -> str:
    return ast.get_docstring(tree) or ""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _block(code: str) -> str:
    return f"```python\n{code}\n```\n"


def _text(docstring: str) -> str:
    """Return a docstring as Markdown, in which an angle bracket would begin HTML."""
    lines: list[str] = []
    for line in docstring.splitlines():
        parts = re.split(r"(``.*?``)", line)
        escaped = "".join(part if part.startswith("``") else part.replace("<", "&lt;") for part in parts)
        lines.append(line if line.startswith("    ") else re.sub(r"``(.*?)``", r"`\1`", escaped))
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")

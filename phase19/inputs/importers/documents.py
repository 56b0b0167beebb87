"""Read JSON files and JSON lines into frames of text: one column per declared path."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from phase19.errors import InputError, UsageError
from phase19.inputs.refusals import shorten
from phase19.schema import ArrowStream

_BATCH_BYTES = 2**26  # text held at once, unless one file has more


def read_text(file: Path) -> str:
    """The text of a file in UTF-8; bytes that are not UTF-8 become U+FFFD."""
    try:
        return file.read_text("utf-8-sig", errors="replace")
    except OSError as problem:
        raise InputError(str(file), expected="a readable file", found=problem.strerror or str(problem)) from problem


@dataclass
class Documents:
    """The files of an import, and what in them is not JSON.

    Attributes
    ----------
    paths
        Files, and folders to search.
    drop_torn_lines
        Leave out what is not JSON; by default it is an error.
    unreadable
        File and line number of what was left out.
    """

    paths: Sequence[Path]
    drop_torn_lines: bool = False
    unreadable: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path in self.paths:
            if not path.exists():
                raise InputError(str(path), expected="a file or a folder", found="nothing")
        self.paths = [path.resolve() for path in self.paths]  # agents may be named by folders

    def files(self, *patterns: str, beside: bool = False) -> list[Path]:
        """Find the files with a name like one of `patterns`, in the order of their paths.

        Parameters
        ----------
        patterns
            Globs for file names.
        beside
            Also search the folders of the files that were given.
        """
        found: dict[Path, Path] = {}
        for path in self.paths:
            if path.is_dir():
                near = [file for pattern in patterns for file in path.rglob(pattern)]
            else:
                near = [file for pattern in patterns for file in path.parent.glob(pattern) if beside or file == path]
            found |= {file.resolve(): file for file in sorted(near) if file.is_file()}
        return sorted(found.values())

    def read(
        self,
        files: Sequence[Path],
        fields: Mapping[str, str],
        *,
        each: str = "",
        shared: Mapping[str, str] | None = None,
        lines: bool = False,
        reader: Callable[[Path], str] = read_text,
    ) -> pl.DataFrame:
        """Read values from JSON documents.

        Parameters
        ----------
        files
            Files with one document each, or with one a line.
        fields
            JSON path by column; a path with a wildcard gives a list.
        each
            Path to the members of a list, `$.list[*]`, or of an object, `$.object.*`; `fields` are then read from each.
        shared
            JSON path in the whole document by column, for all its members.
        lines
            Whether each line of a file is a document.
        reader
            Gives the text of a file.

        Returns
        -------
        polars.DataFrame
            Columns `file`, `line` (from 1; 1 for a whole file), `key` (of an object's member), `fields` and `shared`,
            all text but `line`. A row per document or member, in the order of the files.

        Raises
        ------
        InputError
            A file cannot be read; a document is not JSON, and `drop_torn_lines` is False.
        """
        batches = _batches(files, lines=lines, reader=reader)
        return pl.concat([self._extract(batch, fields, each, shared or {}) for batch in batches])

    def counts(self, found: int, *, kept: int) -> dict[str, int]:
        """Count the rows found, those that are not JSON, and those that repeat another."""
        unreadable = len(self.unreadable)
        return {"rows": found + unreadable, "unreadable": unreadable, "repeated": found - kept}

    def leave_out(self, torn: pl.DataFrame, expected: str) -> None:
        """Count lines that cannot be read, or raise InputError about the first: columns `file`, `line` and `text`."""
        if not torn.is_empty() and not self.drop_torn_lines:
            file, line, text = torn.select("file", "line", "text").row(0)
            expected = f"{expected} (--drop-torn-lines leaves out what is not)"
            raise InputError(file, line=line, expected=expected, found=shorten(text) or "nothing")
        self.unreadable |= set(torn.select("file", "line").rows())

    def _extract(
        self, texts: pl.DataFrame, fields: Mapping[str, str], each: str, shared: Mapping[str, str]
    ) -> pl.DataFrame:
        # A list of paths is read in one pass over the text, but may contain no wildcards.
        plain = {name: path for name, path in fields.items() if "*" not in path}
        lists = {name: path for name, path in fields.items() if "*" in path}
        cells = [f'plain[{place}] as "{name}"' for place, name in enumerate(plain, 1)]
        cells += [f'entry ->> ${name} as "{name}"' for name in lists]
        cells += [f'shared[{place}] as "{name}"' for place, name in enumerate(shared, 1)]
        members = "document as entry, null::varchar as key, 0 as number"
        if each:
            members = (
                "unnest(json_extract(document, $each)) as entry, unnest(json_keys(document, $parent)) as key, "
                "generate_subscripts(json_extract(document, $each), 1) as number"
            )
        question = (
            "with documents as (select *, try_cast(text as json) as document from texts), "  # noqa: S608
            f"members as (select file, line, position, json_extract_string(document, $shared) as shared, {members} "
            "from documents where document is not null), "
            "entries as (select *, json_extract_string(entry, $plain) as plain from members) "
            f"select file, line, key, {', '.join(cells)} from entries order by position, number"
        )
        self._connection.register("texts", ArrowStream(texts))
        torn = self._connection.sql("select file, line, text from texts where try_cast(text as json) is null")
        self.leave_out(pl.DataFrame(ArrowStream(torn)), "JSON")
        # An empty list of paths has no type.
        parameters = lists | {"plain": [*plain.values(), "$"], "shared": [*shared.values(), "$"]}
        if each:
            parameters |= {"each": each, "parent": re.sub(r"\[\*\]$|\.\*$", "", each)}
        return pl.DataFrame(ArrowStream(self._connection.sql(question, params=parameters)))

    @cached_property
    def _connection(self) -> Any:
        import duckdb

        return duckdb.connect()  # takes longer than most queries


def _batches(files: Sequence[Path], *, lines: bool, reader: Callable[[Path], str]) -> Iterator[pl.DataFrame]:
    names: list[str] = []
    texts: list[str] = []
    for file in files:
        texts.append(reader(file))
        names.append(file.as_posix())
        if sum(map(len, texts)) > _BATCH_BYTES:
            yield _texts(names, texts, lines=lines)
            names, texts = [], []
    yield _texts(names, texts, lines=lines)


def _texts(names: list[str], texts: list[str], *, lines: bool) -> pl.DataFrame:
    frame = pl.DataFrame({"file": names, "text": texts}, schema={"file": pl.String, "text": pl.String})
    if lines:
        frame = frame.with_columns(pl.col("text").str.split("\n")).explode("text")
    numbered = frame.with_columns(line=pl.int_range(1, pl.len() + 1).over("file"), position=pl.int_range(pl.len()))
    return numbered.filter(~(pl.lit(lines) & (pl.col("text").str.strip_chars() == "")))


def nearest_folder(file: pl.Expr, files: pl.Series, folders: Collection[str]) -> pl.Expr:
    """The nearest folder above each file that is one of `folders`; null if none. `files` has every value of `file`."""
    nearest = {
        name: next((place for above in Path(name).parents if (place := above.as_posix()) in folders), None)
        for name in files.unique()
    }
    return file.replace_strict(nearest, default=None, return_dtype=pl.String)


def refuse_nothing(found: Sized, documents: Documents, expected: str) -> None:
    """Raise UsageError if nothing was found."""
    if not len(found):
        raise UsageError(f"expected {expected} in {', '.join(map(str, documents.paths))}, found none")

"""What a file is that is no lines of JSON, told by its beginning."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pytest
import zstandard

from ddbio.pipeline.importing.recognition import HEAD_BYTES, recognise

ITEMS = [{"pk": f"key{number}", "n": {"a": [1, 2.5]}} for number in range(300)]
COMPACT = json.dumps(ITEMS, separators=(",", ":")).encode()
CSV = b"pk,name\r\na,1\r\nb,2\r\n"


def zipped() -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("items.json", b'{"pk":"a"}\n')
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.json"), io.BytesIO())
    return file.getvalue()


WRONG = {
    "a JSON array": (COMPACT, "'.[]'"),
    "a JSON array with blanks": (b" \n[\n {", "'.[]'"),
    "a JSON array, an item a line": (b"[" + b",\n".join(json.dumps(item).encode() for item in ITEMS), "'.[]'"),
    "a pretty JSON array": (json.dumps(ITEMS, indent=2).encode(), "'.[]'"),
    "a JSON array behind a byte order mark": (b"\xef\xbb\xbf[{}]", "'.[]'"),
    "the beginning of an array": (b"[\n", "'.[]'"),
    "pretty objects": (b"\n".join(json.dumps(item, indent=4).encode() for item in ITEMS), "jq -c . FILE"),
    "pretty objects, Windows": (b'{\r\n  "pk": "a"\r\n}\r\n', "jq -c . FILE"),
    "an object in a few lines": (b'{"pk": "a", "n": {\n"a": 1}}\n', "jq -c . FILE"),
    "a reply": (json.dumps({"Items": ITEMS, "Count": 300}, indent=4).encode(), "'.Items[]'"),
    "a zip archive": (zipped(), "unzip"),
    "a tar archive": (tarred(), "tar archive"),
    "gzip data": (gzip.compress(COMPACT), ".gz"),
    "zstd data": (zstandard.compress(COMPACT), ".zst"),
    "bzip2 data": (bz2.compress(COMPACT), "bzip2 -dc"),
    "xz data": (lzma.compress(COMPACT), "xz -dc"),
    "Parquet": (b"PAR1\x15\x04\n", "Parquet"),
    "CSV": (CSV, "CSV"),
    "CSV with quotes": (b'"pk","name, first"\n"a","b"\n', "CSV"),
    "CSV with semicolons": (b"pk;n\n1;2,5\n", "CSV"),
    "tabs": (b"pk\tn\na\tb\n", "CSV"),
    "CSV's head alone": (b"pk,n", "CSV"),
    "UTF-16": ("\ufeff".encode("utf-16-le") + COMPACT.decode().encode("utf-16-le"), "iconv -f UTF-16 -t UTF-8"),
    "UTF-16, the other way": (COMPACT.decode().encode("utf-16-be"), "iconv -f UTF-16BE"),
    "UTF-16 without a mark": ('{"pk":"a"}\n'.encode("utf-16-le"), "iconv -f UTF-16LE"),
    "UTF-32": ('{"pk":"a"}\n'.encode("utf-32"), "iconv -f UTF-32"),
    "a manifest of ddbio's": (json.dumps({"ddbio_manifest": 1, "run": "x"}, indent=2).encode(), "manifest of ddbio"),
    "manifest-files.json": (
        b'{"itemCount":8,"md5Checksum":"s","etag":"a","dataFileS3Key":"x/data/y.json.gz"}\n',
        "data/",
    ),
    "manifest-summary.json": (b'{"version":"2020-06-30","exportArn":"arn","manifestFilesS3Key":"x"}', "data/"),
}
RIGHT = {
    "objects": b'{"pk":"a"}\n{"pk":"b"}\n',
    "a comma behind an object": b'{"pk":{"S":"a"}},\n',
    "half an object": b'{"pk":"a","v":',
    "names without quotes": b'{pk:"a",n:1}\n',
    "words": b"hello, world\n{}\n",
    "a number": b"42\n",
    "NUL": b"\0" * 30,
    "Latin-1": b"caf\xe9, bar\n",
    "arrays, one a line": b"[1,2]\n[3,4]\n",
    "a rejects file": b'{"ddbio_reject":1,"run":"r","source":"a","raw":"[{}]"}\n',
    "nothing": b"",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_is_told_by_its_beginning(name: str) -> None:
    content, told = WRONG[name]
    assert told in (recognise(content[:HEAD_BYTES]) or "")


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_made_up_about_lines_that_are_just_bad(name: str) -> None:
    assert recognise(RIGHT[name]) is None

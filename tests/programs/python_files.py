"""Python: shared memory of a file, copies of trees, and Parquet that is read by ranges."""

from __future__ import annotations

import json
import sys

from tests.programs.ground import Check, Ground
from tests.programs.trees import assert_same, make_tree

MMAP = """
import hashlib, mmap, os, random, sys
path, size = sys.argv[1], 8 << 20
with open(path, "w+b") as file:
    file.truncate(size)
    dice, model = random.Random(1), bytearray(size)
    with mmap.mmap(file.fileno(), size) as view, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as other:
        for _ in range(400):
            start, data = dice.randrange(size - 5000), dice.randbytes(dice.randrange(5000))
            view[start:start + len(data)] = data
            model[start:start + len(data)] = data
            assert other[start:start + len(data)] == data
        assert view.find(b"nowhere to be found") == -1
        view.flush()
        assert os.pread(file.fileno(), size, 0) == model
        view.move(0, 1 << 20, 1 << 20)
        model[0:1 << 20] = model[1 << 20:2 << 20]
assert open(path, "rb").read() == model
print(hashlib.sha1(model).hexdigest())
"""
COPY = """
import os, shutil, sys, tempfile, zipfile
source, inside, back = sys.argv[1:]
shutil.copytree(source, inside, symlinks=True, ignore=shutil.ignore_patterns("pipe", "null"))
shutil.copytree(inside, back, symlinks=True)
shutil.make_archive(inside, "zip", inside)
assert zipfile.ZipFile(f"{inside}.zip").testzip() is None
with tempfile.TemporaryDirectory(dir=os.path.dirname(inside)) as directory:
    shutil.unpack_archive(f"{inside}.zip", directory)
    shutil.move(directory + "/sparse", directory + "/moved")
shutil.rmtree(inside)
assert not os.path.exists(inside)
"""
WRITE_PARQUET = """
import sys
import numpy, pandas
rows, dice = 400_000, numpy.random.default_rng(1)
table = pandas.DataFrame({f"column{n}": dice.random(rows) for n in range(24)})
table["name"] = [f"row {n}" for n in range(rows)]
table.to_parquet(sys.argv[1], row_group_size=40_000, index=False)
"""
READ_PARQUET = """
import json, sys
import pandas, pyarrow.parquet as parquet
path = sys.argv[1]
file = parquet.ParquetFile(path)
meta = file.metadata
groups, columns = [1, 5, 8], ["column3", "column17"]
found = file.read_row_groups(groups, columns=columns)
assert found.num_rows == 3 * 40_000
indexes = [meta.schema.to_arrow_schema().names.index(name) for name in columns]
wanted = sum(meta.row_group(g).column(c).total_compressed_size for g in groups for c in indexes)
one = pandas.read_parquet(path, columns=["column11"], filters=[("column11", "<", 0.5)])
assert 190_000 < len(one) < 210_000
wanted += sum(meta.row_group(g).column(11).total_compressed_size for g in range(meta.num_row_groups))
print(json.dumps({"wanted": wanted + meta.serialized_size, "size": __import__("os").path.getsize(path)}))
"""
AMPLIFICATION = 4
"""Bytes that may come from B2 for each that a program needs."""


def memory_map(ground: Ground) -> None:
    sha1 = ground.run(sys.executable, "-c", MMAP, ground.path / "mapped").strip()
    ground.remount()
    assert ground.run("sha1sum", ground.path / "mapped").startswith(sha1)


def copy_trees(ground: Ground) -> None:
    source, back = ground.local / "source", ground.local / "back"
    make_tree(source)
    ground.run(sys.executable, "-c", COPY, source, ground.path / "inside", back)
    for name in ("pipe", "null"):
        (source / name).unlink()
    for path in (source, back):  # of owners shutil knows nothing, and what it adds to a directory dates it
        ground.run("chown", "-R", "0:0", path)
        ground.run("chmod", "-R", "u+rwx,g-s,o-t", path)
    ground.run("touch", "-d", "2020-01-01", source, back)
    assert_same(back, source)


def parquet_by_ranges(ground: Ground) -> None:
    path = ground.path / "table.parquet"
    ground.run(sys.executable, "-c", WRITE_PARQUET, path)
    ground.remount()
    before = ground.counts.bytes_out
    read = json.loads(ground.run(sys.executable, "-c", READ_PARQUET, path))
    fetched = ground.counts.bytes_out - before
    words = [f"{size / 1e6:.1f} MB" for size in (fetched, read["wanted"], read["size"])]
    ground.notes.append(f"fetched {words[0]} for {words[1]} that were read of {words[2]}")
    assert fetched <= AMPLIFICATION * read["wanted"], ground.notes


CHECKS = (
    Check("mmap", memory_map),
    Check("copytree", copy_trees),
    Check("parquet", parquet_by_ranges, modules=("pandas", "pyarrow")),
)

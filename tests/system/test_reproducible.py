"""The same sources give the same bytes, wherever they are and wherever the results go."""
import shutil
import subprocess

from conftest import BUILD, TOP


def copy_sources(tree):
    tree.mkdir()
    for path in TOP.iterdir():
        if path.is_file():
            shutil.copy(path, tree)
        elif path.name not in ("build", BUILD.name) and not path.name.startswith("."):
            shutil.copytree(path, tree / path.name, symlinks=True)


def build(tree, out):
    made = subprocess.run(["make", f"BUILD={out}", "all"], cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert made.returncode == 0, made.stdout
    return tree / out


def test_two_builds_give_the_same_image(tmp_path):
    copy_sources(tmp_path / "one")  # both from one copy: the sources may be edited while tests run
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere", symlinks=True)
    first, second = build(tmp_path / "one", "build"), build(tmp_path / "elsewhere", "out")
    for name in ("boot/trefoil.elf", "trefoil.iso"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name

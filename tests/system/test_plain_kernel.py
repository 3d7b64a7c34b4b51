"""Debian's plain kernel, whose XZ image alone takes 4.5 thousand million instructions to unpack: `make test-plain`."""
from pathlib import Path

import pytest
from conftest import run_tool
from guest import Shell, linux_conf

UNPACKED = 400  # seconds


@pytest.mark.slow
def test_plain_kernel(images, boot, initrd):
    kernel = Path(run_tool("tools/fetch-kernel.sh", "linux-image-amd64"))
    machine = boot(images.trefoil(linux_conf("alpha", memory="512M"), {"vmlinuz": kernel, "alpha.img": initrd("alpha")}),
                   memory=768)
    alpha = Shell(machine, "alpha")
    alpha.wait(UNPACKED)
    assert alpha.run("uname -r") == kernel.name.removeprefix("vmlinuz-")

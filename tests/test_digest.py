import hashlib

import pytest

from latentbench.digest import file_digest


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path, size):
    content = b"latent" * (size // 6) + b"x" * (size % 6)
    file = tmp_path / "file"
    file.write_bytes(content)
    assert file_digest(file) == hashlib.sha256(content).hexdigest()
    assert file_digest(file, "md5") == hashlib.md5(content).hexdigest()  # noqa: S324 - OpenSLR's

"""Tokens: who shows one is that reader, until it expires, and nobody else can make one."""

import stat
from pathlib import Path

import pytest

from kernel_service.tokens import Mint, load_secret, new_reader

SECRET = b"s" * 32


def test_a_minted_token_names_its_reader() -> None:
    mint, reader = Mint(SECRET), new_reader()
    assert mint.reader(mint.mint(reader)) == reader


def test_readers_are_never_named_alike() -> None:
    assert len({new_reader() for _ in range(1000)}) == 1000


def test_a_token_of_another_secret_is_forged() -> None:
    assert Mint(SECRET).reader(Mint(b"t" * 32).mint(new_reader())) is None


@pytest.mark.parametrize("part", [0, 1, 2])
def test_changing_any_part_of_a_token_forges_it(part: int) -> None:
    mint = Mint(SECRET)
    parts = mint.mint(new_reader()).split(".")
    parts[part] = parts[part][:-1] + ("1" if parts[part][-1] != "1" else "2")
    assert mint.reader(".".join(parts)) is None


@pytest.mark.parametrize("damaged", ["", ".", "..", "a.b.c", "é.1.ff", "0" * 32 + ".99999999999999999999." + "0" * 64])
def test_a_damaged_token_is_nobodys(damaged: str) -> None:
    assert Mint(SECRET).reader(damaged) is None


def test_a_token_expires_when_its_lifetime_is_over() -> None:
    now = 1000.0
    mint = Mint(SECRET, lifetime_s=60, clock=lambda: now)
    token = mint.mint(new_reader())
    now = 1059.0
    assert mint.reader(token) is not None
    now = 1060.0
    assert mint.reader(token) is None


def test_the_secret_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "reader.secret"
    secret = load_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_secret(path) == secret


def test_a_half_written_secret_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "reader.secret"
    path.write_bytes(b"half")
    assert len(load_secret(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

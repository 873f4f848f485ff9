"""What is packed comes back as it was, whatever others wrote into it, and is small where B2 wrote it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from b2mount.model import NO_INFO, Action, Encryption, Kind, ObjectVersion
from b2mount.namespace.packing import pack, unpack, unpack_attributes
from b2mount.namespace.posix_info import MODIFIED, POSIX, SYMLINK, attributes_of, kind_of
from tests.namespace.world import DEFAULTS, path

PLACE = path("d/name")
OWN = "mode=100644,uid=0,gid=7,ns=123456"
NODE = "mode=10644,uid=0,gid=7,ns=5"
LARGEST = 2**63 - 1


def b2_id(number: int, uploaded_ms: int, *, place: str = "c001_v0001000_t0000", has_moment: bool) -> str:
    moment = time.strftime("d%Y%m%d_m%H%M%S", time.gmtime(uploaded_ms // 1000))
    end = f"_u{uploaded_ms:013}" if has_moment else ""
    return f"4_z4ea11064719f7dc88f854d81_f{number:017x}_{moment}_{place}{end}"


def a_version(info: Mapping[str, str] = NO_INFO, **fields: object) -> ObjectVersion:
    values: dict[str, object] = {"version_id": "id", "size": 1, "uploaded_ms": 1, "info": info} | fields
    return ObjectVersion(PLACE, **values)  # type: ignore[arg-type]  # each fits its field


def test_a_version_as_b2_has_it_is_small_and_shares_the_rest() -> None:
    ms = 1_795_356_558_527
    info = {MODIFIED: "1700000000123", POSIX: OWN}
    shapes = set()
    for number in range(100):
        place = f"c{number:03}_v{number * 1000:07}_t{number:04}"
        version_id = b2_id(number, ms + number, place=place, has_moment=True)
        version = a_version(info, version_id=version_id, uploaded_ms=ms + number, sha1=f"{number:040x}")
        packed = pack(version, Kind.FILE)
        assert packed is not None
        shape, data = packed
        assert len(data) <= 64
        assert unpack(PLACE, shape, data) == version
        shapes.add(id(shape))
    assert len(shapes) == 1


def test_encryption_takes_no_room() -> None:
    sizes = set()
    for encryption in Encryption:
        packed = pack(a_version(encryption=encryption), Kind.FILE)
        assert packed is not None
        assert unpack(PLACE, *packed).encryption is encryption
        sizes.add(len(packed[1]))
    assert len(sizes) == 1


@pytest.mark.parametrize("has_moment", [True, False])
def test_both_forms_of_an_id_are_kept_as_numbers(has_moment: bool) -> None:
    version = a_version(
        version_id=b2_id(2**67, 1_500_000_000_999, has_moment=has_moment), uploaded_ms=1_500_000_000_999
    )
    packed = pack(version, Kind.FILE)
    assert packed is not None
    assert len(packed[1]) == 32
    assert unpack(PLACE, *packed) == version


def test_an_id_that_tells_another_moment_comes_back_as_it_is() -> None:
    told = b2_id(7, 1_795_356_558_527, has_moment=True)
    for uploaded_ms in (1_795_356_558_528, 1_795_356_559_527, 0, LARGEST):
        version = a_version(version_id=told, uploaded_ms=uploaded_ms)
        packed = pack(version, Kind.FILE)
        assert packed is not None
        assert unpack(PLACE, *packed) == version


def test_what_b2_does_not_have_is_not_packed() -> None:
    assert pack(a_version(size=-1), Kind.FILE) is None
    assert pack(a_version(uploaded_ms=2**64), Kind.FILE) is None
    assert pack(a_version(sha1="A" * 40), Kind.FILE) is None
    assert pack(a_version(sha1=""), Kind.FILE) is None
    assert pack(a_version(action=Action.HIDE), Kind.FILE) is None


texts = st.text(st.characters(exclude_categories=()), max_size=30)
times = st.one_of(st.integers(0, 4_000_000_000_000), st.integers(0, LARGEST))
values = st.one_of(
    texts,
    st.integers(0, 10**20).map(str),
    st.integers(0, 10**10).map("mode=100640,uid=5,gid=6,ns={}".format),
    st.sampled_from(
        [
            "",
            "0",
            "007",
            "١٢٣",
            "x" * 7000,
            "\ud83d\ude00",
            OWN,
            OWN + "\n",
            "mode=120777,ns=5",
            NODE,
            NODE.replace(",ns=5", ",ns=5,rdev=259"),
        ]
    ),
)
keys = st.one_of(st.sampled_from([MODIFIED, POSIX, SYMLINK, "large_file_sha1"]), texts)
ids = st.one_of(
    texts,
    st.builds(b2_id, st.integers(0, 2**68 - 1), st.integers(0, 10**13 - 1), has_moment=st.booleans()),
)


@st.composite
def versions(draw: st.DrawFn) -> ObjectVersion:
    uploaded_ms = draw(times)
    version_id = draw(ids)
    if uploaded_ms < 10**13 and draw(st.booleans()):
        version_id = b2_id(draw(st.integers(0, 2**68 - 1)), uploaded_ms, has_moment=draw(st.booleans()))
    return ObjectVersion(
        PLACE,
        version_id,
        draw(st.one_of(st.just(0), st.integers(0, LARGEST))),
        uploaded_ms,
        draw(texts),
        draw(st.one_of(st.none(), st.binary(min_size=20, max_size=20).map(bytes.hex))),
        draw(st.dictionaries(keys, values, max_size=6)),
        encryption=draw(st.sampled_from(Encryption)),
    )


@given(version=versions())
@example(version=a_version({POSIX: OWN, MODIFIED: "5"}))
@example(version=a_version({MODIFIED: "05", POSIX: OWN, "a": "\udc80\0"}))
@example(version=a_version({SYMLINK: "ziel", MODIFIED: "5", POSIX: OWN}, size=0))
@example(
    version=a_version({MODIFIED: "9223372036855", POSIX: "mode=100644,uid=4294967295,gid=0,ns=999999999"})
)
def test_what_is_packed_comes_back(version: ObjectVersion) -> None:
    packed = pack(version, kind_of(version))
    assert packed is not None
    back = unpack(PLACE, *packed)
    assert back == version
    assert list(back.info.items()) == list(version.info.items())
    assert unpack_attributes(PLACE, *packed, DEFAULTS) == attributes_of(version, DEFAULTS)

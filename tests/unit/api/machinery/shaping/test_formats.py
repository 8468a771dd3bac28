"""The formats of texts: what Kubernetes accepts, oddities included."""

import pytest

from kubelite.api.machinery.shaping.formats import FORMATS, format_check, is_known

UUID = "123e4567-e89b-{}2d3-{}456-426614174000"

CASES: list[tuple[str, list[str], list[str]]] = [
    ("bsonobjectid", ["507f1f77bcf86cd799439011"], ["507f", "g" * 24]),
    ("byte", ["YWJj", "YWI=", "YQ=="], ["", "YWJ", "Y*==", "YWJj\n", "===="]),
    ("cidr", ["10.0.0.1/8", "010.0.0.0/8", "::/0", "fe80::1/64"],
     ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "1.2.3.4/+1"]),
    ("creditcard", ["4111-1111-1111-1111", "5500 0000 0000 0004"], ["4111", "4111111111111112", ""]),
    ("date", ["2024-02-29", "0000-02-29", "2023-12-31"],
     ["2023-02-29", "2024-13-01", "24-1-1", "2024-01-01 ", "2024-00-10", "٢٠٢٤-01-01"]),
    ("date-time", ["2024-01-02T03:04:05Z", "2024-01-02t03:04:05.1+02:00", "2024-01-02T03:04:05z"],
     ["2024-01-02", "2024-13-02T03:04:05Z", "2024-01-02T24:04:05Z", "2024-01-02T03:04:05", "abc"]),
    ("duration", ["1h30m", "5s", "1d", "1w3d", "22 ns", "P1D", "1.5h", "-1s", "0", "3 weeks", "2 Hours"],
     ["", "x", "5", "1 fortnight", "99999999999999999999h", "s"]),
    ("email", ["a@b.co", "Bob <a@b.co>", '"q s"@b', "a@[1.2.3.4]", "a@[IPv6:::1]", "a@b (x (y))",
               "group: a@b;", '"B. C" <a@b>', "é@b"],
     ["", "a", "a@", "@b", ".a@b", "a..b@c", "a b@c", "<a@b", "a@b, c@d", "a@[1.2]", "a@b (x"]),
    ("hexcolor", ["#fff", "fff", "#A0b1C2"], ["#ffff", "#ggg", "##fff"]),
    ("hostname", ["a", "localhost", "a.b.example", "x1.com", "a-b", "m\u00fcller.de"],
     ["", "-a", "a_b", "a.b.c", "a.1", "foo-bar", "a-.com", "x" * 64, f"{'a.' * 130}com", "a..com"]),
    ("ipv4", ["1.2.3.4", "01.2.3.4", "::ffff:1.2.3.4"], ["::1", "1.2.3", "1.2.3.256", "1.2.3.4 ", ""]),
    ("ipv6", ["::1", "::ffff:1.2.3.4", "FE80::1"], ["1.2.3.4", "fe80::1%eth0", ":::", "1::2::3"]),
    ("isbn", ["0321751043", "978-0321751041"], ["123", ""]),
    ("isbn10", ["0321751043", "0-8044-2957-X"], ["0321751044", "978-0321751041"]),
    ("isbn13", ["9783161484100", "978 3161484100"], ["9783161484101", "0321751043"]),
    ("k8s-long-name", ["a.b-c.d", "a" * 253], ["A.b", "a..b", "-a", "a" * 254, ""]),
    ("k8s-short-name", ["a", "a-1"], ["a.b", "A", "a-", "a" * 64]),
    ("mac", ["00:11:22:33:44:55", "00-11-22-33-44-55", "0011.2233.4455", "00:11:22:33:44:55:66:77"],
     ["00:11:22:33:44", "00:11-22:33:44:55", "001122334455x", "0g:11:22:33:44:55"]),
    ("password", ["", "anything"], []),
    ("rgbcolor", ["rgb(1,2,3)", "rgb( 255 , 0 ,9)"], ["rgb(256,0,0)", "rgb(1,2)", "rgb(01,2,3)"]),
    ("ssn", ["123-45-6789", "123 45-6789"], ["123456789", "12-345-6789"]),
    ("uri", ["https://a/b", "//x", "mailto:x", "/", "*", "http://u:p@h:8/p?q#f", "http://[::1]:80/",
             "http://[fe80::1%25eth0]/", "HTTP://x"],
     ["", "a/b", ":x", "http://a b", "http://[::1", "http://[1.2.3.4]/", "/%zz", "http://h:x", "x\x01",
      "http://a:1:2/", "1http://x"]),
    ("uuid", [UUID.format("1", "a"), UUID.format("1", "a").replace("-", "").upper()], ["123", ""]),
    ("uuid3", [UUID.format("3", "1")], [UUID.format("1", "a")]),
    ("uuid4", [UUID.format("4", "b")], [UUID.format("4", "1"), UUID.format("1", "a")]),
    ("uuid5", [UUID.format("5", "8")], [UUID.format("4", "a")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "good", "bad"), CASES)
def test_formats(name: str, good: list[str], bad: list[str]) -> None:
    check = format_check(name)
    assert [text for text in good if not check(text)] == []
    assert [text for text in bad if check(text)] == []


def test_every_format_has_a_case() -> None:
    assert {name.replace("-", "") for name, _, _ in CASES} == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "known"), [("date-time", True), ("datetime", True), ("ip", False), ("int32", False)]
)
def test_unknown_formats_are_none(name: str, known: bool) -> None:
    assert is_known(name) is known

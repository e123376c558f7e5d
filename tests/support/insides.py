"""Addresses that lead inside, in all their disguises: none of them may ever be connected to."""

NOT_PUBLIC = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "100::1",
    "5f00::1",
    "3fff::1",
    "4000::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:7f00:1",
    "fd00::5efe:808:808",
    "fe80::200:5efe:808:808",
    "ff02::5efe:808:808",
    "64:ff9b:1:a00:0:100:808:808",
]
"""As the system writes addresses."""

LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "127.0.0.1.", "2130706433", "0x7f000001", "0x7F.0.0.1",
    "0x7f.1",
    "0177.0.0.1", "0177.1", "017700000001", "00000177.00.00.01", "0x7f.0.0x0.1", "0", "0.0.0.0", "0x0", "00",
    "127.127.127.127", "127.0.0.1%00", "127.0.0.1%2e", "%31%32%37.0.0.1", "localhost", "LOCALHOST", "localhost.",
    "localhost.localdomain", "canary.localhost", "ip6-localhost", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0::1]",
    "[::0001]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:127.1.1.1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[fe80::5efe:127.0.0.1]", "[::1%25lo]",
    "[fe80::1%25lo]",
    "①②⑦.⓪.⓪.①", "①②⑦.0.0.1", "127。0。0。1", "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "loc\u00adalhost",
]  # fmt: skip
"""Hosts that are this machine, or would be to some reader."""

METADATA = [
    "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376",
    "0251.254.43518", "169.254.43518", "169.16689662", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[fd00:ec2::254]", "169.254.170.2", "100.100.100.200", "192.0.0.192",
    "168.63.129.16", "metadata", "metadata.google.internal", "metadata.google.internal.", "instance-data",
    "instance-data.ec2.internal", "metadata.packet.local",
]  # fmt: skip
"""Where clouds tell machines their secrets."""

PRIVATE = [
    "10.0.0.1", "10.1", "167772161", "012.0.0.1", "172.16.0.1", "192.168.0.1", "192.168.1", "0xc0a80001", "100.64.0.1",
    "[fc00::1]", "[fe80::1]", "[fec0::1]", "[::ffff:10.0.0.1]", "[ff02::1]", "224.0.0.1", "255.255.255.255", "router",
    "router.lan", "payroll.corp", "db.internal", "printer.local", "nas.home.arpa", "inside.example.org",
    "mixed.example.org", "nowhere.example.org",
]  # fmt: skip
"""A network of one's own; the last three are names that lead there as the test's resolver says, or nowhere."""


def disguised(port: int) -> list[str]:
    """Addresses that a reader may take for another, and some that are none; `port` is the canary's."""
    return [
        f"http://example.org@127.0.0.1:{port}/", f"http://example.org:80@127.0.0.1:{port}/", f"http://a:b@127.0.0.1:{port}/",
        f"http://@127.0.0.1:{port}/", f"http://127.0.0.1:{port}#@example.org/", f"http://127.0.0.1:{port}?@example.org/",
        f"http://127.0.0.1:{port}\\@example.org/", f"http://example.org\\@127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}/\\example.org", f"http:\\\\127.0.0.1:{port}/", f"http:127.0.0.1:{port}/",
        f"http:///127.0.0.1:{port}/", f"//127.0.0.1:{port}/", f"127.0.0.1:{port}", f" http://127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}\n.example.org/", f"http://127.0.0.1\t:{port}/", f"HTTP://127.0.0.1:{port}/",
        f"https://127.0.0.1:{port}/", f"ftp://127.0.0.1:{port}/", f"gopher://127.0.0.1:{port}/_GET", "file:///etc/passwd",
        f"dict://127.0.0.1:{port}/info", f"ws://127.0.0.1:{port}/", "data:text/html,x", "javascript:x", "about:blank",
        "http://[::1", "http://[127.0.0.1]/", "http://127.0.0.1:22/", "http://127.0.0.1:6379/", "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/", "http://127.0.0.1:-1/", "http://127.0.0.1:port/", "http://", "http:///", "",
        "nothing",
    ]  # fmt: skip


def insides(port: int) -> list[str]:
    hosts = [*LOOPBACK, *METADATA, *PRIVATE]
    return [*(f"http://{host}:{port}/secret" for host in hosts), *disguised(port)]

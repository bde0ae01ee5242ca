# SPDX-License-Identifier: Apache-2.0
"""What names_client is told to look up: one command a line; names_test.py says which names there are."""

AI = 0x0001, 0x0002, 0x0004, 0x0008, 0x0010, 0x0020, 0x0040, 0x0080
PASSIVE, CANON, NUMERICHOST, V4MAPPED, ALL, ADDRCONFIG, IDN, CANONIDN = AI
NUMERICSERV = 0x0400

ADDRINFO = f"""ai n1.one.test 80
ai n1 -
ai both.one.test http
ai both.one.test http {CANON} 0 1 0
ai both.one.test http 0 2 1 6
ai both.one.test http 0 10 2 17
ai both.one.test - {ADDRCONFIG} 0 1
ai n2.one.test - {V4MAPPED} 10 1
ai both.one.test - {V4MAPPED | ALL} 10 1
ai both.one.test - {ADDRCONFIG | V4MAPPED} 10 1
ai six - 0 0 1
ai six - 0 2 1
ai only domain {CANON} 0 2
ai alias2.one.test 443 {CANON} 0 1
ai alias 443 0 0 1
ai file 443 {CANON} 0 1
ai nick ftp
ai localhost 80
ai nowhere.one.test 80
ai nowhere 80
ai nowhere. -
ai fail.bad.test 80
ai refuse.bad.test 80
ai silent.bad.test 80 0 2 1
ai late.bad.test 80 0 2 1
ai big.one.test - 0 2 1
ai big.one.test 80
ai - 80 {PASSIVE} 0 1
ai - 80 0 0 1
ai - http {PASSIVE} 10 1
ai - -
ai '' 80
ai n1.one.test no-such-service
ai n1.one.test http 0 0 3
ai n1.one.test 80 0 0 3
ai n1.one.test http {NUMERICSERV}
ai n1.one.test 65536 {NUMERICSERV} 0 1
ai n1.one.test tftp 0 0 1
ai 127.0.0.1 80
ai 127.0.0.1 80 0 0 1
ai 127.0.0.1 80 0 10 1
ai 127.0.0.1 http 0 0 1
ai 127.0.0.1 80 {ADDRCONFIG} 0 1
ai 127.0.0.1 99999 0 0 1
ai 127.0.0.1 80 0 0 7
ai 1.2.3.4 - 0
ai 300.1 80 0 0 1
ai abc 80 4 0 1
ai fe80::1%7 80 4 0 1
ai ::ffff:1.2.3.4 80 0 2 1
ai 2001:db8::1 80 {CANON} 10 1
ai 127.1 80 {NUMERICHOST}
ai 0x7f.1 80
ai 2130706433 80
ai ::1 80
ai ::ffff:1.2.3.4 80
ai fe80::1%lo 80
ai fe80::1%7 80
ai fe80::1%none 80
ai n1.one.test 80 {NUMERICHOST}
ai 1.2.3.4 80 0 10 1
ai 1.2.3.4 80 {V4MAPPED} 10 1
ai 1.2.3.4 80 {CANON} 0 1
ai 2001:db8::1 https {NUMERICHOST | CANON} 10 1
ai 1.2.3.4.5 80
ai n1.one.test 80 65536
ai n1.one.test 80 {CANONIDN}
ai - 80 {CANON}
ai n1.one.test 80 0 1 0
ai n1.one.test 80 0 99 0
ai n1.one.test 80 0 0 1 17
ai n1.one.test 80 0 0 7
ai b\xfccher.one.test 80 {IDN}
ai a..b 80
ai -n1.one.test 80
ai .one.test 80
long 63
long 200
long 5000
long 70000
descriptors
"""
HOST = """h n1.one.test
h both
h alias2.one.test
h six
h file
h nick
h 1.2.3.4
h 0x7f.1
h ::1
h nowhere.one.test
h fail.bad.test
h silent.bad.test
h big.one.test
h localhost
h ''
h2 both.one.test 2
h2 both.one.test 10
h2 ::1 10
h2 1.2.3.4 10
h2 both.one.test 7
hr both.one.test 0
hr both.one.test 10
hr file 2
hr file 10
hr alias2 2
hr big.one.test 2
hr nowhere.one.test 0
hr fail.bad.test 0
hr 1.2.3.4 0
hr both.one.test 7
ha 192.0.2.7 2 4
ha 192.0.2.50 2 4
ha 192.0.2.200 2 4
ha 192.0.2.249 2 4
ha 2001:db8::50 10 16
ha :: 10 16
ha 192.0.2.7 2 16
ha 192.0.2.7 9 4
har 192.0.2.7 2 4
har 2001:db8::50 10 16
har 2001:db8::51 10 16
har 192.0.2.249 2 4
descriptors
"""
NAMEINFO = """ni 192.0.2.7 80 0 1025 32
ni 192.0.2.50 443 4 1025 32
ni 2001:db8::50 25 0 1025 32
ni 192.0.2.249 80 0 1025 32
ni 192.0.2.249 80 8 1025 32
ni 192.0.2.7 80 1 1025 32
ni 192.0.2.7 80 2 1025 32
ni 192.0.2.7 69 16 1025 32
ni 192.0.2.7 69 0 1025 32
ni 192.0.2.7 80 0 5 32
ni 192.0.2.7 80 0 1025 2
ni 192.0.2.7 80 0 -1 32
ni 192.0.2.7 80 0 1025 -1
ni 192.0.2.7 80 0 -1 -1
ni 192.0.2.7 80 8 -1 -1
ni 192.0.2.7 80 0 0 0
ni 192.0.2.200 80 0 1025 32
ni fe80::1 80 1 1025 32
ni ::1 80 0 1025 32
ni ::1 80 3 1025 32
ni 192.0.2.7 80 3 1025 32
ni 192.0.2.7 80 3 5 32
ni 192.0.2.7 80 3 1025 2
ni 192.0.2.7 80 3 -1 -1
ni x8 80 3 1025 32
ni x0 80 0 1025 32
ni x1 80 0 1025 32
ni x8 80 0 1025 32
ni 192.0.2.7 80 4096 1025 32
descriptors
"""
MESSAGES = """q n1.one.test 1
q both.one.test 28
q alias2.one.test 1
q txt.one.test 16
q one.test 15
q _ldap._tcp.one.test 33
q 7.2.0.192.in-addr.arpa 12
q n1 1
q nowhere.one.test 1
q n1.one.test 28
q fail.bad.test 1
q silent.bad.test 1
q big.one.test 1
q big.one.test 1 100
q n1.one.test 1 12
q n1.one.test 1 4
s n1 1
s only 1
s nowhere 1
s txt 16
qd n1 one.test 1
qd n1 two.test 1
send n1.one.test 1
send nowhere.one.test 1
send big.one.test 1
send n1.one.test 1 4
nq n1.one.test 1
ns only 1
ns nowhere 1
nosearch only 1
nosearch n1.one.test 1
nowhere n1.one.test 1
init
q n1.one.test 1
s only 1
ai only 80
option 8
q big.one.test 1
ai n3 80
descriptors
"""
AGAIN = """ai both.one.test 80
ai file 80
h only
q n1.one.test 1
ni 192.0.2.7 80 0 1025 32
ai - http 1
"""

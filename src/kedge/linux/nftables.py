"""nf_tables: tables, chains, rules, sets and maps as netlink requests.

Vocabulary of ``nft(8)`` and ``include/uapi/linux/netfilter/nf_tables.h``; the expressions are in
`nftables_expressions`. Every function that builds a request is pure; `NftablesSocket.commit`
hands a list of them to the kernel as one transaction: all or nothing, and no packet ever sees
half of it.

Which rules kedge has is decided in `kedge.network.firewall`.
"""

import struct
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from kedge.linux.netlink import (
    NETLINK_NETFILTER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    Message,
    NetlinkSocket,
    Request,
    attribute,
    attribute_be32,
    attribute_string,
    attribute_text,
    iter_attributes,
    nested,
    parse_attributes,
)

NFPROTO_INET: Final = 1
NFPROTO_IPV4: Final = 2
NFPROTO_BRIDGE: Final = 7
NFPROTO_IPV6: Final = 10

NF_BR_PRE_ROUTING: Final = 0
NF_INET_PRE_ROUTING: Final = 0
NF_INET_LOCAL_IN: Final = 1
NF_INET_FORWARD: Final = 2
NF_INET_LOCAL_OUT: Final = 3
NF_INET_POST_ROUTING: Final = 4

PRIORITY_BRIDGE_DNAT: Final = -300
PRIORITY_RAW: Final = -300
PRIORITY_DSTNAT: Final = -100
PRIORITY_FILTER: Final = 0
PRIORITY_SRCNAT: Final = 100

NF_DROP: Final = 0
NF_ACCEPT: Final = 1

_SUBSYSTEM: Final = 10
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11
_NEWTABLE: Final = 0
_GETTABLE: Final = 1
_DELTABLE: Final = 2
_NEWCHAIN: Final = 3
_GETCHAIN: Final = 4
_NEWRULE: Final = 6
_GETRULE: Final = 7
_NEWSET: Final = 9
_NEWSETELEM: Final = 12
_GETSETELEM: Final = 13
_DELSETELEM: Final = 14

_CHAIN_NAME: Final = 3
_CHAIN_HOOK: Final = 4
_CHAIN_POLICY: Final = 5
_CHAIN_TYPE: Final = 7
_HOOK_NUMBER: Final = 1
_HOOK_PRIORITY: Final = 2
_RULE_TABLE: Final = 1
_RULE_CHAIN: Final = 2
_RULE_EXPRESSIONS: Final = 4
_SET_NAME: Final = 2
_SET_FLAGS: Final = 3
_SET_KEY_TYPE: Final = 4
_SET_KEY_LENGTH: Final = 5
_SET_DATA_TYPE: Final = 6
_SET_DATA_LENGTH: Final = 7
_SET_ID: Final = 10
_SET_USERDATA: Final = 13
_ELEMENTS_SET: Final = 2
_ELEMENTS_LIST: Final = 3
_ELEMENT_KEY: Final = 1
_ELEMENT_DATA: Final = 2
_ELEMENT_FLAGS: Final = 3
_DATA_VALUE: Final = 1
_LIST_ELEMENT: Final = 1
_TABLE_NAME: Final = 1
_TABLE_FLAGS: Final = 2

_SET_INTERVAL: Final = 0x4
_SET_MAP: Final = 0x8
_ELEM_INTERVAL_END: Final = 0x1
_TYPE_BITS: Final = 6
_UDATA_KEY_BYTE_ORDER: Final = 0
_UDATA_DATA_BYTE_ORDER: Final = 1
# One attribute holds 64 KiB; an element takes at most 100 bytes.
_ELEMENTS_PER_REQUEST: Final = 500

_NFGENMSG: Final = struct.Struct(">BBH")


class Table(NamedTuple):
    """A table's name within its family."""

    name: str
    family: int = NFPROTO_INET

    def __str__(self) -> str:
        """Return the name, as error texts show it."""
        return self.name


class DataType(NamedTuple):
    """A type a set's key or data is made of; the number is nft's own, for its listings."""

    number: int
    size: int
    byte_order: int
    """1: the machine's, 2: the network's."""


NF_PROTO: Final = DataType(2, 1, 1)
ETHER_ADDR: Final = DataType(9, 6, 2)
IPV4_ADDR: Final = DataType(7, 4, 2)
IPV6_ADDR: Final = DataType(8, 16, 2)
INET_PROTO: Final = DataType(12, 1, 1)
INET_SERVICE: Final = DataType(13, 2, 2)
IFNAME: Final = DataType(41, 16, 1)


class SetSpec(NamedTuple):
    """A named set, or a map when it has ``data``."""

    name: str
    key: tuple[DataType, ...]
    data: tuple[DataType, ...] = ()
    is_interval: bool = False
    """Elements are the pairs ``(first, end)`` of half-open ranges."""


class Element(NamedTuple):
    """An element of a set, in the byte form `concatenate` gives."""

    key: bytes
    data: bytes = b""
    end: bytes = b""
    """In an interval set: the first key after the range."""


class Hook(NamedTuple):
    """Where a base chain sits."""

    chain_type: str
    """``filter`` or ``nat``."""
    number: int
    priority: int
    policy: int = NF_ACCEPT


class BaseChain(NamedTuple):
    """A base chain of anyone's, from a dump."""

    family: int
    table: str
    name: str
    hook: int
    priority: int
    policy: int


class Rule(NamedTuple):
    """A rule of anyone's, from a dump."""

    family: int
    table: str
    chain: str
    expressions: tuple[tuple[str, bytes], ...]
    """The name and the attributes of each."""


def ifname_bytes(name: str) -> bytes:
    """Return an interface name as it lies in a register: 16 bytes, padded with zeros."""
    return name.encode().ljust(IFNAME.size, b"\0")


def concatenate(*parts: bytes) -> bytes:
    """Return a concatenated key: every part padded to the four-byte register it fills."""
    return b"".join(part + b"\0" * (-len(part) & 3) for part in parts)


def new_table(table: Table) -> Request:
    """Create a table, or keep the one that is there."""
    body = _table_body(table) + attribute_be32(_TABLE_FLAGS, 0)
    return _request(_NEWTABLE, NLM_F_CREATE, body, f"create table {table}")


def delete_table(table: Table) -> Request:
    """Remove a table with everything in it."""
    return _request(_DELTABLE, 0, _table_body(table), f"remove table {table}")


def list_tables() -> Request:
    """Ask for the tables of every family and owner."""
    return _request(_GETTABLE, NLM_F_DUMP, _NFGENMSG.pack(0, 0, 0), "list tables")


def parse_table(message: Message) -> tuple[int, str]:
    """Return ``(family, name)`` of a table in a dump."""
    values = parse_attributes(message.body[_NFGENMSG.size :])
    return message.body[0], attribute_text(values.get(_TABLE_NAME, b""))


def new_chain(table: Table, name: str, hook: Hook | None = None) -> Request:
    """Create a chain; a base chain when it has a hook."""
    body = _table_body(table) + attribute_string(_CHAIN_NAME, name)
    if hook is not None:
        place = nested(
            _CHAIN_HOOK,
            attribute_be32(_HOOK_NUMBER, hook.number),
            attribute_be32(_HOOK_PRIORITY, hook.priority),
        )
        body += attribute_string(_CHAIN_TYPE, hook.chain_type) + place
        body += attribute_be32(_CHAIN_POLICY, hook.policy)
    return _request(_NEWCHAIN, NLM_F_CREATE, body, f"create chain {table} {name}")


def list_chains() -> Request:
    """Ask for the chains of every table, whoever owns it."""
    return _request(_GETCHAIN, NLM_F_DUMP, _NFGENMSG.pack(0, 0, 0), "list chains")


def try_parse_base_chain(message: Message) -> BaseChain | None:
    """Return the base chain in a dump's message; None when the chain has no hook."""
    values = parse_attributes(message.body[_NFGENMSG.size :])
    place = parse_attributes(values.get(_CHAIN_HOOK, b""))
    if _HOOK_NUMBER not in place or _HOOK_PRIORITY not in place:
        return None
    (hook,) = struct.unpack(">I", place[_HOOK_NUMBER])
    (priority,) = struct.unpack(">i", place[_HOOK_PRIORITY])
    (policy,) = struct.unpack(">I", values.get(_CHAIN_POLICY, b"\0\0\0\1"))
    table, name = (
        attribute_text(values.get(_TABLE_NAME, b"")),
        attribute_text(values.get(_CHAIN_NAME, b"")),
    )
    return BaseChain(message.body[0], table, name, hook, priority, policy)


def add_rule(table: Table, chain: str, *expressions: bytes) -> Request:
    """Append a rule made of expressions from `nftables_expressions`."""
    body = _table_body(table) + attribute_string(_RULE_CHAIN, chain)
    body += nested(_RULE_EXPRESSIONS, *expressions)
    return _request(_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, body, f"add rule to {table} {chain}")


def list_rules(table: Table, chain: str) -> Request:
    """Ask for the rules of a chain, in order; kernels before 4.14 answer with everybody's."""
    body = _table_body(table) + attribute_string(_RULE_CHAIN, chain)
    return _request(_GETRULE, NLM_F_DUMP, body, f"list rules of {table} {chain}")


def parse_rule(message: Message) -> Rule:
    """Return a rule of a dump."""
    values = parse_attributes(message.body[_NFGENMSG.size :])
    expressions: list[tuple[str, bytes]] = []
    for _kind, payload in iter_attributes(values.get(_RULE_EXPRESSIONS, b"")):
        item = parse_attributes(payload)
        expressions.append((attribute_text(item.get(1, b"")), item.get(2, b"")))
    return Rule(
        message.body[0],
        attribute_text(values.get(_RULE_TABLE, b"")),
        attribute_text(values.get(_RULE_CHAIN, b"")),
        tuple(expressions),
    )


def new_set(table: Table, spec: SetSpec, *, set_id: int) -> Request:
    """Create a set or map.

    Args:
        table: Its table.
        spec: What it holds.
        set_id: A number for it, different from the other sets' in the transaction.
    """
    flags = (_SET_INTERVAL if spec.is_interval else 0) | (_SET_MAP if spec.data else 0)
    body = _table_body(table) + attribute_string(_SET_NAME, spec.name)
    body += attribute_be32(_SET_FLAGS, flags)
    body += attribute_be32(_SET_KEY_TYPE, _type_number(spec.key))
    body += attribute_be32(_SET_KEY_LENGTH, _length(spec.key))
    # The user data tells nft(8) how to print the elements; the kernel only keeps it.
    notes = _note(_UDATA_KEY_BYTE_ORDER, spec.key)
    if spec.data:
        body += attribute_be32(_SET_DATA_TYPE, _type_number(spec.data))
        body += attribute_be32(_SET_DATA_LENGTH, _length(spec.data))
        notes += _note(_UDATA_DATA_BYTE_ORDER, spec.data)
    body += attribute_be32(_SET_ID, set_id) + attribute(_SET_USERDATA, notes)
    return _request(_NEWSET, NLM_F_CREATE, body, f"create set {table} {spec.name}")


def add_elements(table: Table, spec: SetSpec, elements: Sequence[Element]) -> list[Request]:
    """Add elements to a set; one that is already there with other data is an error."""
    return _element_requests(_NEWSETELEM, NLM_F_CREATE, table, spec, elements)


def delete_elements(table: Table, spec: SetSpec, elements: Sequence[Element]) -> list[Request]:
    """Remove elements from a set; one that is not there is an error."""
    return _element_requests(_DELSETELEM, 0, table, spec, elements)


def list_elements(table: Table, name: str) -> Request:
    """Ask for the elements of a set."""
    body = _table_body(table) + attribute_string(_ELEMENTS_SET, name)
    return _request(_GETSETELEM, NLM_F_DUMP, body, f"list set {table} {name}")


def parse_elements(message: Message) -> list[Element]:
    """Return the elements in one message of a dump; range ends are elements of their own."""
    values = parse_attributes(message.body[_NFGENMSG.size :])
    found: list[Element] = []
    for _kind, payload in iter_attributes(values.get(_ELEMENTS_LIST, b"")):
        item = parse_attributes(payload)
        key = parse_attributes(item.get(_ELEMENT_KEY, b"")).get(_DATA_VALUE, b"")
        data = parse_attributes(item.get(_ELEMENT_DATA, b"")).get(_DATA_VALUE, b"")
        found.append(Element(key, data))
    return found


class NftablesSocket:
    """A netfilter netlink socket that commits whole transactions."""

    __slots__ = ("_netlink",)

    def __init__(self, *, descriptor: int = -1) -> None:
        """Open a socket in the calling thread's network namespace, or use ``descriptor``.

        A descriptor may belong to another namespace; it is left open by `close`.
        """
        self._netlink = NetlinkSocket(NETLINK_NETFILTER, descriptor=descriptor)

    def __enter__(self) -> Self:
        """Return the socket; it is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self.close()

    def close(self) -> None:
        """Close the socket; what was committed stays."""
        self._netlink.close()

    def commit(self, requests: Sequence[Request]) -> None:
        """Make all the changes at once, or none.

        Raises:
            NetlinkError: The kernel refused a request; nothing has changed.
        """
        place = _NFGENMSG.pack(0, 0, _SUBSYSTEM)
        begin = Request(_BATCH_BEGIN, 0, place, "change the packet filter")
        end = Request(_BATCH_END, 0, place, "commit the packet filter")
        self._netlink.transact(begin, requests, end)

    def query(self, request: Request) -> list[Message]:
        """Return the messages that answer a ``list_`` request.

        Raises:
            NetlinkError: The kernel refused the request.
        """
        return self._netlink.query(request)


def _request(kind: int, flags: int, body: bytes, what: str) -> Request:
    return Request((_SUBSYSTEM << 8) | kind, flags, body, what)


def _table_body(table: Table) -> bytes:
    """Return the header of a message; attribute 1 is the table's name in all of them."""
    return _NFGENMSG.pack(table.family, 0, 0) + attribute_string(1, table.name)


def _type_number(types: Iterable[DataType]) -> int:
    number = 0
    for part in types:
        number = (number << _TYPE_BITS) | part.number
    return number


def _length(types: Sequence[DataType]) -> int:
    """Return a key's size in bytes; in a concatenation each part fills whole registers."""
    if len(types) == 1:
        return types[0].size
    return sum((part.size + 3) & ~3 for part in types)


def _note(kind: int, types: Sequence[DataType]) -> bytes:
    order = types[0].byte_order if len(types) == 1 else 0
    return struct.pack("=BBI", kind, 4, order)


def _element_requests(
    kind: int, flags: int, table: Table, spec: SetSpec, elements: Sequence[Element]
) -> list[Request]:
    verb = "add to" if kind == _NEWSETELEM else "remove from"
    requests: list[Request] = []
    for start in range(0, len(elements), _ELEMENTS_PER_REQUEST):
        items: list[bytes] = []
        for element in elements[start : start + _ELEMENTS_PER_REQUEST]:
            data = (
                nested(_ELEMENT_DATA, attribute(_DATA_VALUE, element.data)) if element.data else b""
            )
            items.append(nested(_LIST_ELEMENT, _element_key(element.key), data))
            if element.end:
                flag = attribute_be32(_ELEMENT_FLAGS, _ELEM_INTERVAL_END)
                items.append(nested(_LIST_ELEMENT, flag, _element_key(element.end)))
        body = _table_body(table) + attribute_string(_ELEMENTS_SET, spec.name)
        body += nested(_ELEMENTS_LIST, *items)
        requests.append(_request(kind, flags, body, f"{verb} set {table} {spec.name}"))
    return requests


def _element_key(key: bytes) -> bytes:
    return nested(_ELEMENT_KEY, attribute(_DATA_VALUE, key))

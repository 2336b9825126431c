"""multipart/form-data (RFC 7578) as a stream: bytes go in, parts come out. Holds nothing of a part's content."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.problems import UnsupportedMediaTypeError
from ferry.errors import MalformedRequestError

FORM_DATA = "multipart/form-data"
# A boundary has up to 70 characters (RFC 2046, section 5.1.1). The library takes 1 µs for each `;` of a longer one.
MAX_CONTENT_TYPE_CHARS = 512


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins. name: its field; filename: None where it is not said."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    """The next bytes of the part that began last."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is whole."""


Event = PartBegin | PartData | PartEnd


@dataclass(slots=True)
class _Head:
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    disposition: str = ""


class FormReader:
    """Reads one form."""

    def __init__(self, content_type: str) -> None:
        """Take the request's content type.

        Raises:
            UnsupportedMediaTypeError: it is no form with parts.
            MalformedRequestError: it names no boundary, or none that there may be.
        """
        if len(content_type) > MAX_CONTENT_TYPE_CHARS:
            detail = f"the content type has {len(content_type)} characters, the limit is {MAX_CONTENT_TYPE_CHARS}"
            raise MalformedRequestError(f"{detail}; send {FORM_DATA} and a boundary")
        media_type, options = parse_options_header(content_type)
        if media_type.decode("latin-1") != FORM_DATA:
            shown = media_type.decode("latin-1")[:40]
            raise UnsupportedMediaTypeError(f"content type {shown!r} is not read here; send {FORM_DATA}")
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise MalformedRequestError(f"the content type {FORM_DATA} names no boundary")
        self.is_whole = False
        self._events: list[Event] = []
        self._head = _Head()
        callbacks = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        except FormParserError as error:
            raise MalformedRequestError(f"the form cannot be read: {error}") from None

    def feed(self, data: bytes) -> list[Event]:
        """Return what the next bytes of the body bring.

        Raises:
            MalformedRequestError: this is no form.
        """
        if self.is_whole:
            return []  # RFC 2046: what follows the last boundary is to be ignored
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise MalformedRequestError(f"the form cannot be read: {error}") from None
        events, self._events = self._events, []
        return events

    def _part_begin(self) -> None:
        self._head = _Head()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._head.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._head.value += data[start:end]

    def _header_end(self) -> None:
        head = self._head
        if head.name.lower() == b"content-disposition":
            head.disposition = head.value.decode("latin-1")
        head.name, head.value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._head.disposition)
        if b"name" not in options:
            raise MalformedRequestError("a part of the form has no name")
        filename = options.get(b"filename")
        self._events.append(PartBegin(_text(options[b"name"]), None if filename is None else _text(filename)))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data[start:end]))

    def _part_end(self) -> None:
        self._events.append(PartEnd())

    def _end(self) -> None:
        self.is_whole = True


def _text(raw: bytes) -> str:
    """Browsers and clients send UTF-8; what is not is taken for Latin-1, which anything is."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")

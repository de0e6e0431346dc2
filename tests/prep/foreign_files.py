"""The first bytes of files that are no images of the formats that feedline opens, by the names they must be called."""

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def _media(brand: bytes) -> bytes:
    return b"\0\0\0\x1cftyp" + brand + bytes(16)


FOREIGN = {
    "an EPS file": EPS,
    "a PDF file": b"%PDF-1.7\n",
    "an AVIF file": _media(b"avif"),
    "a HEIF file": _media(b"heic"),
    "a video": _media(b"isom"),
    "a JPEG 2000 file": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20),
    "a JPEG XL file": b"\xff\x0a" + bytes(20),
    "an ICO file": b"\0\0\1\0\1\0" + bytes(20),
    "a PSD file": b"8BPS\0\1" + bytes(20),
    "a WMF file": b"\xd7\xcd\xc6\x9a" + bytes(40),
    "an EMF file": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(20),
    "an SVG file": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "an HTML page": b"\n<!DOCTYPE html>\n<html><title>Log in</title></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "an AppleDouble file": b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(20),
    "a zip archive": b"PK\3\4" + bytes(30),
    "a gzip file": b"\x1f\x8b\x08\0" + bytes(20),
    "a tar archive": b"n01440764_18.JPEG".ljust(257, b"\0") + b"ustar\x0000" + bytes(200),
    "a RIFF file without an image": b"RIFF\x24\0\0\0WAVEfmt " + bytes(20),
    "a DICOM file": bytes(128) + b"DICM" + bytes(20),
}

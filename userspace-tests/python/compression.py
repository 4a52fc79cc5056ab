# Hashes and compression, by OpenSSL, zlib, bz2 and lzma; archives on disk.
import bz2
import gzip
import hashlib
import hmac
import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib

data = b"".join(b"%d squared is %d\n" % (i, i * i) for i in range(20000))
for name in ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b"):
    print(name, hashlib.new(name, data).hexdigest()[:32])
print(hmac.new(b"key", data, "sha256").hexdigest()[:32], hashlib.pbkdf2_hmac("sha256", b"p", b"s", 1000).hex()[:32])
print(zlib.crc32(data), zlib.adler32(data))
for module in (zlib, bz2, lzma):
    packed = module.compress(data)
    print(module.__name__, len(packed), module.decompress(packed) == data)
print(gzip.decompress(gzip.compress(data, mtime=0)) == data)
try:
    zlib.decompress(b"rubbish")
except zlib.error as error:
    print(error)
with tempfile.TemporaryDirectory() as place:
    with tarfile.open(f"{place}/a.tar.xz", "w:xz") as archive:
        info = tarfile.TarInfo("dir/file")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    with tarfile.open(f"{place}/a.tar.xz") as archive:
        archive.extractall(place)
    print(open(f"{place}/dir/file", "rb").read() == data)
    with zipfile.ZipFile(f"{place}/a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", data)
    with zipfile.ZipFile(f"{place}/a.zip") as archive:
        print(archive.namelist(), archive.testzip(), archive.read("member") == data)

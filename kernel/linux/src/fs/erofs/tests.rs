//! Tests of the reader on a small image, whole and corrupt.
use super::*;

struct Image(Vec<u8>);
impl RootDevice for Image {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let from = self.0.get(offset as usize..).ok_or(Errno::EIO)?;
        buf.copy_from_slice(from.get(..buf.len()).ok_or(Errno::EIO)?);
        Ok(())
    }
    fn direct(&self, _offset: u64) -> Option<u64> {
        None
    }
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Root directory (inline, nid 36) with one file `a` (inline, nid 40) holding "hello".
fn image() -> Vec<u8> {
    let mut image = vec![0; 8192];
    put(&mut image, 1024, &MAGIC.to_le_bytes());
    image[1024 + 12] = 12;
    image[1024 + 14] = 36;
    let root = 36 * 32;
    put(&mut image, root, &[4, 0, 0, 0, 0xed, 0x41, 2, 0, 28]);
    let dir = root + 32;
    put(&mut image, dir, &[36, 0, 0, 0, 0, 0, 0, 0, 24, 0, 2, 0]);
    put(
        &mut image,
        dir + 12,
        &[40, 0, 0, 0, 0, 0, 0, 0, 25, 0, 1, 0],
    );
    put(&mut image, dir + 24, b".a");
    let file = 40 * 32;
    put(&mut image, file, &[5, 0, 0, 0, 0xa4, 0x81, 0, 0, 5]);
    image[file + 32] = 7;
    image[file + 40] = 9;
    put(&mut image, file + 64, b"hello");
    image
}

#[test]
fn reads_a_file() {
    let image = Image(image());
    let fs = Erofs::mount(&image).unwrap();
    let root = fs.inode(fs.root()).unwrap();
    let mut seen = Vec::new();
    fs.entries(&root, |name, nid, kind| {
        seen.push((name.to_vec(), nid, kind));
    })
    .unwrap();
    assert_eq!(seen, [(b"a".to_vec(), 40, 8)]);
    let file = fs.inode(40).unwrap();
    assert_eq!((file.mtime_ns, file.size), (7_000_000_009, 5));
    let mut buf = [0; 8];
    assert_eq!(fs.read(&file, 1, &mut buf).unwrap(), 4);
    assert_eq!(&buf[..4], b"ello");
}

#[test]
fn survives_corruption() {
    let good = image();
    for at in 1024..1400 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let image = Image(bad);
            let Ok(fs) = Erofs::mount(&image) else {
                continue;
            };
            for nid in [fs.root(), 40] {
                let Ok(inode) = fs.inode(nid) else { continue };
                let _ = fs.entries(&inode, |_, _, _| ());
                let _ = fs.link(&inode);
                let _ = fs.read(&inode, 0, &mut [0; 100]);
                let _ = fs.direct_pages(&inode, 0);
            }
        }
    }
}

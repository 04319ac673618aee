use super::*;

/// All of it at once, and byte by byte.
fn read(bytes: &[u8]) -> Result<Option<(Vec<u8>, HeaderMap)>, BadMessage> {
    let mut ways = [bytes.to_vec(), Vec::new()]
        .map(|start| (BytesMut::from(&start[..]), Chunks::Size, Vec::new(), None));
    for (way, (buffer, chunks, body, end)) in ways.iter_mut().enumerate() {
        let mut rest = if way == 0 { [].iter() } else { bytes.iter() };
        loop {
            match chunks.step(buffer)? {
                Step::Data(data) => body.extend_from_slice(&data),
                Step::End(trailers) => break *end = Some(trailers),
                Step::More => match rest.next() {
                    Some(byte) => buffer.put_u8(*byte),
                    None => break,
                },
            }
        }
    }
    let [(.., body, end), (.., body2, end2)] = ways;
    assert_eq!((&body, &end), (&body2, &end2));
    Ok(end.map(|end| (body, end)))
}

#[test]
fn whole_bodies() {
    let (body, trailers) =
        read(b"5;a=\"b\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n").unwrap().unwrap();
    assert_eq!(body, b"hello0123456789");
    assert_eq!(trailers.get("x-sum").unwrap(), "1");
    assert!(read(b"5\r\nhel").unwrap().is_none());
}

#[test]
fn bad_chunks() {
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(MAX_LINE));
    for bad in [
        "\r\n",
        "+1\r\na\r\n",
        "-1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1 a\r\na\r\n",
        "g\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "10000000000000000\r\n",
        "00000000000000001\r\n",
        "1;\rx\r\na\r\n",
        ";a\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\nx: y\n\r\n",
        &long,
    ] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn what_is_written_is_read() {
    for size in [1, 9, 15, 16, 255, 4096, 1 << 20] {
        let mut out = BytesMut::new();
        put_size(&mut out, size);
        out.put_bytes(b'x', size);
        out.put_slice(b"\r\n");
        put_end(&mut out, &HeaderMap::new());
        if size > 4096 {
            let mut chunks = Chunks::Size;
            assert!(matches!(chunks.step(&mut out), Ok(Step::Data(data)) if data.len() == size));
        } else {
            assert_eq!(read(&out).unwrap().unwrap().0.len(), size);
        }
    }
}

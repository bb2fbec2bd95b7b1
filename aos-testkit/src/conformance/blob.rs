//! The contract of [`BlobStore`](aos_core::blob::BlobStore).

use aos_core::canonical::Hash;

use super::{Backend, Outcome};

/// `get` gives exactly the bytes that were put.
pub async fn gives_back_what_was_put(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let blobs = roles.need_blobs()?;
    for bytes in [&b""[..], b"\0", b"{\"a\":1}", "👩‍👩‍👧".as_bytes(), &[0xff, 0xfe, 0x00, 0x80], b"' OR 1=1 --"]
    {
        let hash = blobs.put(bytes).await.unwrap();
        assert_eq!(hash, Hash::of(bytes));
        assert_eq!(blobs.get(&hash).await.unwrap().as_deref(), Some(bytes));
    }
    Ok(())
}

/// Putting the same bytes again changes nothing.
pub async fn same_bytes_again_change_nothing(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let blobs = roles.need_blobs()?;
    let first = blobs.put(b"same").await.unwrap();
    assert_eq!(blobs.put(b"same").await.unwrap(), first);
    assert_eq!(blobs.get(&first).await.unwrap().as_deref(), Some(&b"same"[..]));
    Ok(())
}

/// A hash that nothing was put under gives `None`.
pub async fn unknown_hashes_give_nothing(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let blobs = roles.need_blobs()?;
    blobs.put(b"there").await.unwrap();
    assert_eq!(blobs.get(&Hash::of("not there")).await.unwrap(), None);
    Ok(())
}

/// Blobs of 5 MB come back whole.
pub async fn large_blobs(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let blobs = roles.need_blobs()?;
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    let hash = blobs.put(&bytes).await.unwrap();
    assert!(blobs.get(&hash).await.unwrap().as_deref() == Some(&bytes[..]));
    Ok(())
}

/// `put` is durable when it resolves: whoever opens the data finds it.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (blobs, again) = (roles.need_blobs()?, roles.again().await?);
    let hash = blobs.put(b"durable").await.unwrap();
    assert_eq!(again.need_blobs()?.get(&hash).await.unwrap().as_deref(), Some(&b"durable"[..]));
    Ok(())
}

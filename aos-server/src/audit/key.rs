//! Keys that sign checkpoints: Ed25519, in the files that OpenSSL makes.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::hex;

/// What stands before the 32 bytes of an Ed25519 key in a public key file (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A private key. Its `Debug` shows the public one.
#[derive(Clone)]
pub struct AuditKey {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

/// A public key; as text, 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl AuditKey {
    /// Reads the file that `openssl genpkey -algorithm ed25519` writes.
    ///
    /// # Errors
    /// What is wrong with the file, without anything of what stands in it.
    pub fn in_file(path: &Path) -> Result<Self, String> {
        let wrong = "expected an Ed25519 key in PEM, for example of `openssl genpkey -algorithm ed25519`";
        let text = std::fs::read(path).map_err(|e| format!("{} can't be read: {e}", path.display()))?;
        let pair = PrivatePkcs8KeyDer::from_pem_slice(&text).ok().and_then(|der| {
            // OpenSSL leaves the public half out.
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok()
        });
        let pair = pair.ok_or_else(|| format!("{} is something else: {wrong}", path.display()))?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref());
        let public = PublicKey(public.map_err(|_| format!("{} is something else: {wrong}", path.display()))?);
        Ok(Self { pair: Arc::new(pair), public })
    }

    /// The public key of it.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The signature of a statement, in hex.
    pub fn sign(&self, statement: &str) -> String {
        hex::encode(self.pair.sign(statement.as_bytes()).as_ref())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKey({})", self.public)
    }
}

impl PartialEq for AuditKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for AuditKey {}

/// Reads the file that `openssl pkey -pubout` writes.
///
/// # Errors
/// What is wrong with the file.
pub fn public_key_in(path: &Path) -> Result<PublicKey, String> {
    let der = SubjectPublicKeyInfoDer::from_pem_file(path).ok();
    let bytes = der.as_deref().and_then(|der| der.strip_prefix(&SPKI)).and_then(|bytes| bytes.try_into().ok());
    bytes.map(PublicKey).ok_or_else(|| {
        let path = path.display();
        format!("{path} can't be read as an Ed25519 public key in PEM, for example of `openssl pkey -pubout`")
    })
}

impl PublicKey {
    /// Whether the key signed the statement; `signature` in hex.
    pub fn has_signed(&self, statement: &str, signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        hex::decode(signature).is_some_and(|signature| key.verify(statement.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        hex::decode(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 8410, section 10.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn what_a_key_signs_is_checked_by_its_public_half_alone() {
        let key = AuditKey::in_file(file(PRIVATE).path()).unwrap();
        let public = public_key_in(file(PUBLIC).path()).unwrap();
        assert_eq!(key.public(), public);
        assert_eq!(public.to_string().parse(), Ok(public));
        let signature = key.sign("statement");
        assert!(public.has_signed("statement", &signature));
        assert!(!public.has_signed("Statement", &signature));
        assert!(!PublicKey([7; 32]).has_signed("statement", &signature));
        for wrong in ["", "0", "zz", &signature[1..], &signature.replace(&signature[..2], "é")] {
            assert!(!public.has_signed("statement", wrong), "{wrong}");
        }
        assert_eq!(public.to_string().replacen("19", "+9", 1).parse::<PublicKey>(), Err(()), "digits have no sign");
        assert!(!format!("{key:?}").contains("d4ee72dbf913584a"));
    }

    #[test]
    fn other_files_are_told_from_keys() {
        for text in ["", "key", PUBLIC, "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"] {
            let error = AuditKey::in_file(file(text).path()).unwrap_err();
            assert!(error.contains("openssl genpkey"), "{error}");
        }
        assert!(AuditKey::in_file(Path::new("/nowhere/at-all")).unwrap_err().contains("can't be read"));
        for text in ["", PRIVATE] {
            assert!(public_key_in(file(text).path()).unwrap_err().contains("openssl pkey"));
        }
    }
}

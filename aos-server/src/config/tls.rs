//! The certificate that the server shows.

use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::reader::Reader;
use crate::config::table;

/// Where a certificate and its private key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those up to its authority's.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Reads both, and whether they belong together.
    ///
    /// # Errors
    /// What is wrong with them, without anything of the key.
    pub fn read(&self) -> Result<CertifiedKey, String> {
        let chain: Vec<_> = pem(&self.certificate, |text| CertificateDer::pem_slice_iter(text).collect())?;
        if chain.is_empty() {
            return Err(format!("{} holds no certificate in PEM", self.certificate.display()));
        }
        let key = pem(&self.key, PrivateKeyDer::from_pem_slice)?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|e| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!("{key} is no key for the certificate in {certificate}: {e}")
        })
    }
}

fn pem<T>(path: &Path, read: impl FnOnce(&[u8]) -> Result<T, rustls_pki_types::pem::Error>) -> Result<T, String> {
    let text = std::fs::read(path).map_err(|e| format!("{} can't be read: {e}", path.display()))?;
    read(&text).map_err(|e| format!("{} is not what it should be in PEM: {e}", path.display()))
}

/// Reads where it is; the outer `None` means that a setting is wrong.
pub(super) fn read(reader: &mut Reader) -> Option<Option<CertificateFiles>> {
    let path = |text: &str| Some(Path::new(text).to_owned());
    let certificate = reader.optional(&table::TLS_CERT_FILE, path)?;
    let key = reader.optional(&table::TLS_KEY_FILE, path)?;
    let (given, other, absent) = match (certificate, key) {
        (None, None) => return Some(None),
        (Some(certificate), Some(key)) => {
            let files = CertificateFiles { certificate, key };
            return match files.read() {
                Ok(_) => Some(Some(files)),
                Err(why) => {
                    reader.contradiction(&table::TLS_CERT_FILE, why);
                    None
                }
            };
        }
        (Some(_), None) => (&table::TLS_CERT_FILE, &table::TLS_KEY_FILE, "the key of the certificate"),
        (None, Some(_)) => (&table::TLS_KEY_FILE, &table::TLS_CERT_FILE, "the certificate of the key"),
    };
    reader.contradiction(given, format!("{} has to be set as well: {absent}", other.key));
    None
}

//! Signature Version 4, by which requests to an S3 interface say who sent them.
//!
//! The secret signs a digest of method, path, query, headers and body through a chain of
//! HMAC-SHA256 over date, region and service; the secret itself never leaves.

use sha2::{Digest, Sha256};

use crate::base::hash::sha256_bytes;

/// Who signs.
#[derive(Clone)]
pub(super) struct Signer {
    /// Identifier of the key, which is sent.
    pub(super) id: String,
    /// Its secret, which is not.
    pub(super) secret: String,
    /// The region, as its place is named.
    pub(super) region: String,
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    /// `GET`, `PUT` and so on.
    pub(super) method: &'a str,
    /// The path, encoded.
    pub(super) path: &'a str,
    /// The query, names and values encoded, in the order of names.
    pub(super) query: &'a str,
    /// Names in lower case in their order, with their values.
    pub(super) headers: &'a [(&'a str, String)],
    /// SHA-256 of the body, in hexadecimal digits.
    pub(super) body: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time: &'a str,
}

/// Bytes that SHA-256 works on at once.
const BLOCK: usize = 64;

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let short = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    let mut block = [0; BLOCK];
    block[..short.len()].copy_from_slice(&short);
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Signer {
    /// The value of the header `authorization`.
    pub(super) fn authorization(&self, parts: &Parts<'_>) -> String {
        let day = parts.time.get(..8).unwrap_or(parts.time);
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let names = parts.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let headers: String = parts.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let request = [parts.method, parts.path, parts.query, &headers, &names, parts.body].join("\n");
        let text = ["AWS4-HMAC-SHA256", parts.time, &scope, &sha256_bytes(request.as_bytes())].join("\n");
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), day);
        for word in [self.region.as_str(), "s3", "aws4_request"] {
            key = hmac(&key, word);
        }
        let signature = hex(&hmac(&key, &text));
        format!("AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases 1, 2 and 6 of RFC 4231.
    #[test]
    fn codes_are_those_of_the_standard() {
        let cases: [(&[u8], &str, &str); 3] = [
            (&[0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                &[0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, text, code) in cases {
            assert_eq!(hex(&hmac(key, text)), code, "{text}");
        }
    }

    /// The examples of Amazon's documentation of Signature Version 4 for S3.
    #[test]
    fn published_examples_are_signed_as_they_say() {
        let signer = Signer {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            region: "us-east-1".into(),
        };
        let (time, empty) = ("20130524T000000Z", sha256_bytes(b""));
        let host = || ("host", "examplebucket.s3.amazonaws.com".to_owned());
        let rest = |body: &str| [("x-amz-content-sha256", body.to_owned()), ("x-amz-date", time.to_owned())];
        let range = [&[host(), ("range", "bytes=0-9".to_owned())][..], &rest(&empty)].concat();
        let plain = [&[host()][..], &rest(&empty)].concat();
        let body = sha256_bytes(b"Welcome to Amazon S3.");
        let put = [
            &[("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()), host()][..],
            &rest(&body),
            &[("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned())],
        ]
        .concat();
        let examples = [
            ("GET", "/test.txt", "", &range, &empty, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            ("PUT", "/test%24file.text", "", &put, &body, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
            ("GET", "/", "lifecycle=", &plain, &empty, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("GET", "/", "max-keys=2&prefix=J", &plain, &empty, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ];
        for (method, path, query, headers, body, signature) in examples {
            let said = signer.authorization(&Parts { method, path, query, headers, body, time });
            assert!(said.ends_with(&format!("Signature={signature}")), "{method} {path}: {said}");
        }
    }
}

//! What is kept of the head of a call.
//!
//! A head may be 16 kB long, a field that the peer indexed is one byte of it and a place in a table
//! here, and a path keeps the whole frame that it came in. So a head is copied, without what nobody
//! reads: whatever a caller sends, it holds a few hundred bytes.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};

/// The fields that somebody reads: tonic, the deadline of a call, the SPIFFE Workload API.
const KEPT: [&str; 5] = [
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "workload.spiffe.io",
];
/// Most fields of one name: two are enough to be told from one.
const MAX_OF_A_NAME: usize = 2;
/// The longest value that means anything to us.
const MAX_VALUE_BYTES: usize = 128;
/// The longest path that a call of ours has, and more.
const MAX_PATH_BYTES: usize = 128;

/// The head with what is read of it. What stands for its connection stays.
pub(super) fn kept(head: Parts) -> Parts {
    let mut kept = http::Request::new(()).into_parts().0;
    kept.method = match head.method {
        Method::POST => Method::POST,
        _ => Method::GET,
    };
    kept.uri = path(&head.uri);
    kept.version = head.version;
    kept.headers = fields(&head.headers);
    kept.extensions = head.extensions;
    kept
}

/// The path alone. One that is too long is that of no call.
fn path(uri: &Uri) -> Uri {
    let path = uri.path();
    let path = if path.len() > MAX_PATH_BYTES {
        "/"
    } else {
        path
    };
    Uri::try_from(path).unwrap_or_default()
}

fn fields(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in KEPT {
        let values = headers.get_all(name).iter();
        let values = values.filter(|value| value.len() <= MAX_VALUE_BYTES);
        for value in values.take(MAX_OF_A_NAME) {
            if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
                kept.append(name, copy);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::limits::MAX_HEADER_BYTES;

    fn head(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_what_is_read_is_kept_of_a_head() {
        let path = "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
        let long = "a".repeat(MAX_HEADER_BYTES as usize / 2);
        let uri = format!("http://{long}.example/{path}?{long}");
        let mut request = Request::post(uri.replacen("//envoy", "/envoy", 1))
            .extension(7_u32)
            .header("content-type", "application/grpc")
            .header("grpc-timeout", "1S")
            .header("grpc-encoding", &long)
            .header("user-agent", &long);
        for _ in 0..5 {
            request = request.header("workload.spiffe.io", "true");
        }
        for number in 0..100 {
            request = request.header(format!("x-{number}"), "");
        }
        let kept = kept(head(request));
        assert_eq!(kept.uri, path);
        assert_eq!(kept.method, Method::POST);
        assert_eq!(kept.extensions.get(), Some(&7_u32));
        let names: Vec<&str> = kept.headers.iter().map(|(name, _)| name.as_str()).collect();
        let security = "workload.spiffe.io";
        assert_eq!(names, ["content-type", "grpc-timeout", security, security]);
    }

    #[test]
    fn path_of_no_call_is_not_kept() {
        let long = format!("/{}", "a".repeat(MAX_PATH_BYTES));
        let odd = Method::from_bytes("M".repeat(10_000).as_bytes()).unwrap();
        let kept = kept(head(Request::builder().method(odd).uri(long)));
        assert_eq!((kept.uri.path(), kept.method), ("/", Method::GET));
    }

    /// A value is a piece of the frame that it came in, which stays in memory with it.
    #[test]
    fn what_is_kept_is_a_copy() {
        let frame = bytes::Bytes::from(vec![b'a'; 16_384]);
        let value = HeaderValue::from_maybe_shared(frame.slice(..10)).unwrap();
        let kept = kept(head(Request::post("/a").header("grpc-timeout", value)));
        assert_eq!(kept.headers["grpc-timeout"], "a".repeat(10));
        assert!(frame.is_unique());
    }
}

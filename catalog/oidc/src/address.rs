//! Which addresses keys may be fetched from.

use url::{Host, Url};

/// Whether `url` is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether nobody on the way can change what `url` answers: encrypted, or never leaving this machine. With a password in
/// it, it is not an address but a secret.
pub(crate) fn is_safe(url: &Url) -> bool {
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    bare && url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_encrypted_or_stays_here_is_safe() {
        for good in [
            "https://id.example.com",
            "https://10.0.0.7/realms/a?p=b",
            "http://127.0.0.1:8080/",
            "http://[::1]:1/",
            "http://localhost/a",
        ] {
            assert!(is_safe(&good.parse().expect(good)), "{good}");
        }
        for bad in [
            "http://id.example.com",
            "http://10.0.0.7",
            "http://0.0.0.0",
            "http://localhost.example.com",
            "http://[::ffff:8.8.8.8]",
            "https://a:b@id.example.com",
            "https://a@id.example.com",
            "https://id.example.com/#a",
            "file:///etc/keys",
            "ftp://localhost/keys",
            "data:text/plain,x",
        ] {
            assert!(!is_safe(&bad.parse().expect(bad)), "{bad}");
        }
    }
}

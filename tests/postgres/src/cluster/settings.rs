//! What is in the files of a server's configuration.

use std::fmt::Write as _;
use std::path::Path;

use crate::tls;

/// How a cluster differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Whoever comes over TCP without TLS is refused.
    pub requires_tls: bool,
    /// Its data lies on a disk of its own, which [`fill_disk`](super::Cluster::fill_disk) fills. Only
    /// root may mount one.
    pub small_disk: bool,
    /// Settings of `postgresql.conf`, which win over all others: `("max_connections", "5")`.
    pub settings: Vec<(&'static str, &'static str)>,
}

impl Setup {
    /// The text of `postgresql.conf`.
    pub(super) fn configuration(&self, folder: &Path, port: u16) -> String {
        let path = |path: &Path| path.display().to_string();
        let here = path(folder);
        let port = port.to_string();
        let (certificate, key) = (
            path(&tls::certificate_in(folder)),
            path(&tls::key_in(folder)),
        );
        let clients = path(&folder.join(super::CLIENTS));
        let mut lines = vec![
            ("listen_addresses", "127.0.0.1"),
            ("port", &port),
            ("unix_socket_directories", &here),
            ("hba_file", &clients),
            ("ssl", "on"),
            ("ssl_cert_file", &certificate),
            ("ssl_key_file", &key),
            // A start takes a tenth of a second, and nothing of it stays outside of the folder.
            ("shared_buffers", "16MB"),
            ("huge_pages", "off"),
            ("dynamic_shared_memory_type", "mmap"),
            ("log_line_prefix", "%m [%p] %u@%d "),
            ("lc_messages", "C"),
        ];
        lines.extend(&self.settings);
        lines
            .iter()
            .map(|(name, value)| setting(name, value))
            .collect()
    }

    /// The text of `pg_hba.conf`: everybody shows a password.
    pub(super) fn clients(&self) -> String {
        let over_tcp = if self.requires_tls { "hostssl" } else { "host" };
        let mut text = String::new();
        for database in ["all", "replication"] {
            writeln!(text, "local {database} all scram-sha-256").unwrap();
            writeln!(text, "{over_tcp} {database} all all scram-sha-256").unwrap();
        }
        text
    }
}

/// A line of `postgresql.conf`.
pub(super) fn setting(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_of_a_test_comes_last() {
        let settings = vec![("port", "1"), ("search_path", "'a'")];
        let setup = Setup {
            settings,
            ..Setup::default()
        };
        let text = setup.configuration(Path::new("/folder"), 2);
        assert!(text.contains("port = '2'\n"), "{text}");
        assert!(
            text.ends_with("port = '1'\nsearch_path = '''a'''\n"),
            "{text}"
        );
    }
}

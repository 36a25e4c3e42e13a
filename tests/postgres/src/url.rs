//! Where a database is, as a configuration says it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use crate::psql::{self, Rows};

/// A URL of a database, `postgresql://…`, whose parts a test changes before it is written.
#[derive(Clone, Debug)]
pub struct Url {
    user: String,
    password: String,
    /// None for a Unix socket, which is a parameter.
    addresses: Vec<String>,
    database: String,
    parameters: Vec<(String, String)>,
}

impl Url {
    /// Over TCP; the server must prove itself by the certificates of a file.
    pub(crate) fn new(
        [user, password, database]: [&str; 3],
        address: SocketAddr,
        ca: &Path,
    ) -> Self {
        let url = Self {
            user: user.to_owned(),
            password: password.to_owned(),
            addresses: Vec::new(),
            database: database.to_owned(),
            parameters: Vec::new(),
        };
        url.at(&[address]).trusting(ca)
    }

    /// The same database at other addresses: of proxies, or of several servers.
    #[must_use]
    pub fn at(self, addresses: &[SocketAddr]) -> Self {
        let addresses = addresses.iter().map(SocketAddr::to_string).collect();
        Self { addresses, ..self }
    }

    /// The same database at `localhost`, so that the server's certificate is compared with a name.
    #[must_use]
    pub fn at_localhost(self) -> Self {
        let port = |address: &String| address.rsplit(':').next().unwrap_or_default().to_owned();
        let ports = self.addresses.iter().map(port);
        let addresses = ports.map(|port| format!("localhost:{port}")).collect();
        Self { addresses, ..self }
    }

    /// With the server's certificate judged by the certificates of a file, and by its names.
    #[must_use]
    pub fn trusting(self, ca: &Path) -> Self {
        self.with("sslmode", "verify-full")
            .with("sslrootcert", &ca.to_string_lossy())
    }

    /// Without TLS, as a proxy needs it that reads what it forwards.
    #[must_use]
    pub fn in_clear(mut self) -> Self {
        self.parameters.retain(|(name, _)| name != "sslrootcert");
        self.with("sslmode", "disable")
    }

    /// Over the Unix socket in a folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path, port: u16) -> Self {
        self.addresses.clear();
        let folder = folder.to_string_lossy();
        self.in_clear()
            .with("host", &folder)
            .with("port", &port.to_string())
    }

    /// Sets a parameter, in the place of the one that has this name.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(set, _)| set != name);
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another password.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        let password = password.to_owned();
        Self { password, ..self }
    }

    /// The password that is in it.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs statements there by `psql`, as who the URL says, until one fails.
    ///
    /// # Errors
    /// What the server, or the way to it, says.
    pub fn sql(&self, text: &str) -> Result<Rows, String> {
        psql::run(&self.to_string(), text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            password,
            database,
            ..
        } = self;
        let addresses = self.addresses.join(",");
        write!(f, "postgresql://{user}:{password}@{addresses}/{database}")?;
        for (at, (name, value)) in self.parameters.iter().enumerate() {
            let before = if at == 0 { '?' } else { '&' };
            write!(f, "{before}{name}={}", encoded(value))?;
        }
        Ok(())
    }
}

/// A value, with what would end it written as numbers.
fn encoded(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:,".contains(&byte);
    let encoded = |byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        let address = "127.0.0.1:1234".parse().unwrap();
        Url::new(["me", "secret", "db"], address, Path::new("/ca.pem"))
    }

    #[test]
    fn url_is_that_of_a_configuration() {
        let text = url().to_string();
        let verified = "sslmode=verify-full&sslrootcert=/ca.pem";
        assert_eq!(
            text,
            format!("postgresql://me:secret@127.0.0.1:1234/db?{verified}")
        );
        let two = ["127.0.0.1:1", "[::1]:2"].map(|it| it.parse().unwrap());
        let several = url()
            .at(&two)
            .in_clear()
            .with("target_session_attrs", "read-write");
        assert_eq!(
            several.to_string(),
            "postgresql://me:secret@127.0.0.1:1,[::1]:2/db?sslmode=disable&target_session_attrs=read-write"
        );
        let set = url().in_clear().with("options", "-c a=1").to_string();
        assert!(set.ends_with("&options=-c%20a%3D1"), "{set}");
        let by_name = url().at_localhost().to_string();
        assert!(by_name.contains("@localhost:1234/db?"), "{by_name}");
    }
}

//! A machine of its own for a reader: a shell in a network, a process table and a `/run` that nobody
//! else sees. So the ports and paths of a page are used as they are written, and all that it leaves
//! running ends with it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use super::{Command, Page, Step};
use crate::{binaries, wait};

/// Longest time that one command of a page may take.
const COMMAND_BOUND: Duration = Duration::from_secs(240);
/// Between two tries of a command that is run until it prints what the page shows.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the shell may take to end, where it is not within a command.
const END_BOUND: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};
/// With which our programs say that a daemon is not there: a reader would try again.
const UNREACHABLE: i32 = 4;
/// Most of an output that an error quotes, in bytes.
const QUOTED: usize = 6_000;
/// Where a bare root has its programs.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the loopback interface of a new network usable, without a program that may not be there.
const LOOPBACK_UP: &str = "import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(s, 0x8914, struct.pack('16sH22x', b'lo', 1))";

/// A shell that keeps its variables, its folder and its jobs from one command to the next.
#[derive(Debug)]
pub struct Shell {
    // Dropped in this order: the end of the input ends the shell, and then its folder goes.
    input: ChildStdin,
    inside: Inside,
    folder: TempDir,
    /// The same folder as the shell names it.
    named: PathBuf,
    commands: usize,
}

/// The process that all of the machine ends with.
#[derive(Debug)]
struct Inside(Child);

impl Drop for Inside {
    fn drop(&mut self) {
        // The shell is the first process of its table: the kernel ends all others before it.
        if let Ok(ending) = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty()) {
            let mut ending = [PollFd::new(&ending, PollFlags::IN)];
            let _ = poll(&mut ending, Some(&END_BOUND));
        }
        // Either fails only where it is gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a command ended, and what it printed.
struct Ended {
    code: i32,
    printed: String,
}

impl Shell {
    /// A machine with the files of this one, in an empty folder. On its `PATH` are our programs, Envoy
    /// and Python; `EXAMPLES` is `docs/integrations/examples`.
    ///
    /// # Errors
    /// A program was not built, or there is no right to make namespaces: it takes root.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("countersign-").tempdir()?;
        let programs = folder.path().join("programs");
        std::fs::create_dir(&programs)?;
        for name in OURS {
            symlink(binaries::ours(name)?, programs.join(name))?;
        }
        symlink(binaries::envoy()?, programs.join("envoy"))?;
        let python = binaries::python()?;
        let venv = python.parent().context("Python lies in a folder")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{path}", programs.display(), venv.display());
        let named = folder.path().to_owned();
        Self::enter(folder, named, &path, "exec bash --noprofile --norc")
    }

    /// A machine whose files are those of a folder, such as a bare Debian with our package.
    ///
    /// # Errors
    /// There is no right to make namespaces: it takes root.
    pub fn start_in_root(root: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("reader-")
            .tempdir_in(root.join("root"))?;
        let named = Path::new("/").join(folder.path().strip_prefix(root)?);
        let root = root.display();
        let enter = format!(
            "mount -t proc proc '{root}/proc' && mount --rbind /dev '{root}/dev' && \
             mount -t tmpfs tmpfs '{root}/run' && exec chroot '{root}' /bin/bash --noprofile --norc"
        );
        Self::enter(folder, named, ROOT_PATH, &enter)
    }

    fn enter(folder: TempDir, named: PathBuf, path: &str, then: &str) -> Result<Self> {
        for name in ["work", "said"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let python = binaries::python()?;
        let script = format!(
            "set -e; '{}' -c \"$LOOPBACK_UP\"; unset LOOPBACK_UP; \
             for private in /run /dev/shm; do mount -t tmpfs tmpfs $private; done; {then}",
            python.display()
        );
        let log = std::fs::File::create(folder.path().join("shell.log"))?;
        let mut child = std::process::Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount"])
            .args(["--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["bash", "-c", &script])
            .env_clear()
            .env("LOOPBACK_UP", LOOPBACK_UP)
            .env("PATH", path)
            .env("HOME", std::env::var_os("HOME").unwrap_or("/root".into()))
            .env("LANG", "C.UTF-8")
            .env("EXAMPLES", binaries::project().join(EXAMPLES))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start setpriv (package util-linux)")?;
        let input = child.stdin.take().context("its input is a pipe")?;
        let mut shell = Self {
            input,
            inside: Inside(child),
            folder,
            named,
            commands: 0,
        };
        let work = shell.named.join("work");
        writeln!(shell.input, "cd '{}'", work.display())?;
        Ok(shell)
    }

    /// The folder that it began in.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Does what a page asks for.
    ///
    /// # Errors
    /// A command ended otherwise, or printed something else, than the page says.
    pub async fn follow(&mut self, page: &Page) -> Result<()> {
        for step in page.steps() {
            self.take(step)
                .await
                .with_context(|| page.name().to_owned())?;
        }
        Ok(())
    }

    /// Runs a command and gives what it printed.
    ///
    /// # Errors
    /// It does not end with 0.
    pub async fn run(&mut self, text: &str) -> Result<String> {
        let ended = self.run_once(text).await?;
        match ended.code {
            0 => Ok(ended.printed),
            code => bail!("`{text}` ended with {code}:\n{}", quoted(&ended.printed)),
        }
    }

    async fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::File { name, text, append } => {
                let path = self.folder().join(name);
                let mut file = std::fs::File::options()
                    .create(true)
                    .write(true)
                    .append(*append)
                    .truncate(!append)
                    .open(path)
                    .with_context(|| name.clone())?;
                Ok(file.write_all(text.as_bytes())?)
            }
            Step::Run(command) => self.obey(command).await,
        }
    }

    /// Runs a command as often as a reader would: again, while a daemon is not there yet.
    async fn obey(&mut self, command: &Command) -> Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.run_once(&command.text).await?;
            let Some(wrong) = ended.is_not(command) else {
                return Ok(());
            };
            let again = command.until || (ended.code == UNREACHABLE && !command.fails);
            if !again || start.elapsed() > wait::BOUND {
                bail!("`{}` {wrong}:\n{}", command.text, self.told(&ended));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn run_once(&mut self, text: &str) -> Result<Ended> {
        self.commands += 1;
        let said = self.named.join("said");
        let number = self.commands;
        let mut lines = String::new();
        let (out, code) = (format!("{number}.out"), format!("{number}.code"));
        let said = said.display();
        writeln!(lines, "{{ {text}\n}} >'{said}/{out}' 2>&1 </dev/null")?;
        writeln!(
            lines,
            "echo $? >'{said}/new'; mv '{said}/new' '{said}/{code}'"
        )?;
        self.input
            .write_all(lines.as_bytes())
            .context("the shell has ended")?;
        let said = self.folder.path().join("said");
        let code = wait::until(text, COMMAND_BOUND, async || {
            let ended = self.inside.0.try_wait().ok().flatten();
            let code = std::fs::read_to_string(said.join(&code)).ok();
            code.or_else(|| ended.map(|status| format!("the shell ended, {status}")))
        });
        let code = code.await?;
        let printed = std::fs::read(said.join(out)).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let log = || std::fs::read_to_string(self.folder.path().join("shell.log"));
        Ok(Ended {
            code: (code.trim().parse()).with_context(|| format!("{code}: {:?}", log()))?,
            printed,
        })
    }

    /// What a command printed, and the logs that are in the folder.
    fn told(&self, ended: &Ended) -> String {
        let mut told = quoted(&ended.printed).to_owned();
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        for path in paths.filter(|path| path.extension().is_some_and(|it| it == "log")) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let _ = write!(told, "\n--- {}\n{}", path.display(), quoted(&text));
        }
        told
    }
}

impl Ended {
    /// In what it is not what the page says.
    fn is_not(&self, command: &Command) -> Option<String> {
        command.is_missed_by(self.code, &self.printed)
    }
}

/// The end of an output.
fn quoted(text: &str) -> &str {
    let start = text.len().saturating_sub(QUOTED);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at));
    &text[start.unwrap_or(0)..]
}

/// Our programs.
const OURS: &[&str] = &[
    "countersign",
    "countersign-control-plane",
    "countersign-sidecar",
    "countersign-example-client",
];
/// The folder of complete programs that the pages run.
const EXAMPLES: &str = "docs/integrations/examples";

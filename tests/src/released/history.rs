//! Whether the history here has a commit, and why not: each cause has a remedy of its own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{RELEASED, run};

/// `git` in a repository.
pub(super) fn git(project: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(project);
    git
}

/// Fails where the history of a project lacks a commit.
///
/// # Errors
/// There is no history, or not this commit in it, or git fails for a reason of its own, which it tells.
pub(super) fn has(project: &Path, commit: &str) -> Result<()> {
    if !has_history(project)? {
        bail!(
            "the sources in {} have no history: they were unpacked from an archive. The release that {RELEASED} \
             names is built from the history, so run these tests in a clone",
            project.display()
        );
    }
    let is_shallow = run(git(project).args(["rev-parse", "--is-shallow-repository"]))?;
    let tree = format!("{commit}^{{tree}}");
    let looked = run(git(project).args(["cat-file", "-e", &tree]));
    looked.map(drop).with_context(|| match is_shallow.as_str() {
        "true" => format!(
            "the clone is shallow and lacks the release that {RELEASED} names, {commit}: \
             `git fetch --unshallow` brings it"
        ),
        _ => format!(
            "the release that {RELEASED} names, {commit}, cannot be read from the history here, which is whole: \
             fetch the branch that has it, or mend {RELEASED}; `git fsck` tells whether the repository is damaged"
        ),
    })
}

/// Whether the project is a clone. One that was unpacked within the folder of another repository is none.
fn has_history(project: &Path) -> Result<bool> {
    if !project.join(".git").exists() {
        return Ok(false);
    }
    // Who may not read it, or finds it broken, is told by git what is wrong.
    run(git(project).args(["rev-parse", "--git-dir"]))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A repository with two commits: the folder, and the first commit.
    fn repository() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
            run(git(folder.path()).args(who).args(arguments)).unwrap()
        };
        git(&["init", "--quiet"]);
        git(&["commit", "--quiet", "--allow-empty", "-m", "one"]);
        let first = git(&["rev-parse", "HEAD"]);
        git(&["commit", "--quiet", "--allow-empty", "-m", "two"]);
        (folder, first)
    }

    fn told(project: &Path, commit: &str) -> String {
        format!("{:#}", has(project, commit).unwrap_err())
    }

    #[test]
    fn commit_of_the_history_is_found() {
        let (folder, first) = repository();
        has(folder.path(), &first).unwrap();
    }

    #[test]
    fn shallow_clone_is_told() {
        let (folder, first) = repository();
        let clone = tempfile::tempdir().unwrap();
        let from = format!("file://{}", folder.path().display());
        let mut git = git(clone.path());
        run(git.args(["clone", "--quiet", "--depth", "1", &from, "."])).unwrap();
        let told = told(clone.path(), &first);
        assert!(told.contains("git fetch --unshallow"), "{told}");
    }

    #[test]
    fn commit_that_a_whole_history_lacks_is_told() {
        let (folder, _) = repository();
        let told = told(folder.path(), &"0".repeat(40));
        assert!(told.contains("which is whole"), "{told}");
        assert!(!told.contains("shallow"), "{told}");
    }

    /// Within the folder of another repository, too.
    #[test]
    fn archive_of_the_sources_is_told() {
        let (folder, first) = repository();
        let unpacked = folder.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        let told = told(&unpacked, &first);
        assert!(told.contains("unpacked from an archive"), "{told}");
        assert!(!told.contains("shallow"), "{told}");
    }

    #[test]
    fn repository_that_git_refuses_is_told_in_its_words() {
        let (folder, first) = repository();
        fs::write(folder.path().join(".git/config"), "no configuration").unwrap();
        let told = told(folder.path(), &first);
        assert!(told.contains("bad config"), "{told}");
        assert!(
            !told.contains("shallow") && !told.contains("archive"),
            "{told}"
        );
    }
}

//! The book: the pages of `docs/SUMMARY.md`, put together with those that lie elsewhere, and built by mdBook.
//!
//! mdBook has all pages in one folder. Ours lie where readers of the repository look for them, so that the book is made of
//! a copy: what git knows of documents and of what they link to, in the folders that it has there, with the contents at
//! the top. Links between pages, and to programs that a page shows, are the same in both, but for two kinds: a `README.md`
//! is an `index.html` in the book, and a folder is nothing there that one could look into.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::machine;
use crate::run;

/// What the copy is made of, beside the pages at the root: folders whose files pages link to.
const SHOWN: &[&str] =
    &["docs", "examples", "ops", "benches/README.md", "benches/peers", "clients/js/README.md"];

/// The folder that has a page of its own in the book.
const DECISIONS: &str = "docs/decisions";

/// The contents, as the repository has them.
const CONTENTS: &str = "docs/SUMMARY.md";

/// Builds the book into `target/book`.
pub fn build() -> ExitCode {
    match prepare() {
        Ok(mut mdbook) => run::status(&mut mdbook),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare() -> Result<Command, String> {
    let (root, copy) = (run::repository(), run::target().join("book-source"));
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    }
    let mut files = known(SHOWN)?;
    files.extend(known(&["*.md", "LICENSE-*"])?.into_iter().filter(|path| !path.contains('/')));
    for path in files.iter().filter(|path| *path != CONTENTS) {
        let (from, to) = (root.join(path), copy.join("src").join(in_book(path)));
        if path.ends_with(".md") {
            let text = fs::read_to_string(&from).map_err(|error| format!("{}: {error}", from.display()))?;
            written(&to, &linked(&text, |target| folder_of(path, target)))?;
        } else {
            copied(&from, &to)?;
        }
    }
    for name in ["book.toml", "book.css"] {
        copied(&root.join("docs").join(name), &copy.join(name))?;
    }
    let contents = fs::read_to_string(root.join(CONTENTS)).map_err(|error| format!("{CONTENTS}: {error}"))?;
    let decisions = files.iter().filter(|path| path.starts_with("docs/decisions/"));
    let decisions = decisions.map(|path| Ok((path.as_str(), title(&root.join(path))?)));
    let decisions: Vec<(&str, String)> = decisions.collect::<Result<_, String>>()?;
    written(&copy.join("src").join(DECISIONS).join("index.md"), &listed(&decisions))?;
    let there = |path: &str| path == DECISIONS || files.iter().any(|known| known == path);
    written(&copy.join("src/SUMMARY.md"), &summary(&contents, &decisions, there))?;

    // Without what watches, serves and searches, which is most of what building it takes.
    let tool = machine::cargo_tool_with("mdbook", &["--no-default-features"])?;
    let mut mdbook = run::command(tool, &["build", "--dest-dir"]);
    mdbook.arg(run::target().join("book")).arg(&copy);
    Ok(mdbook)
}

/// The contents as mdBook wants them: from the root of the copy, with every decision by its name. A page that is not there
/// yet has no link, which is how mdBook shows a draft.
fn summary(contents: &str, decisions: &[(&str, String)], there: impl Fn(&str) -> bool) -> String {
    let mut lines = Vec::new();
    for line in contents.lines() {
        let Some((before, path)) =
            line.split_once("](").and_then(|(before, path)| Some((before, path.strip_suffix(')')?)))
        else {
            lines.push(line.to_owned());
            continue;
        };
        let path = match path.strip_prefix("../") {
            Some(path) => path.to_owned(),
            None => format!("docs/{path}"),
        };
        let shown = if there(&path) { in_book(&path) } else { String::new() };
        lines.push(format!("{before}]({shown})"));
        if path == DECISIONS {
            lines.extend(decisions.iter().map(|(path, title)| format!("  - [{title}]({path})")));
        }
    }
    lines.join("\n") + "\n"
}

/// Where a path of the repository is in the book.
fn in_book(path: &str) -> String {
    match path.strip_suffix("README.md") {
        Some(folder) => format!("{folder}index.md"),
        None if path == DECISIONS => format!("{path}/index.md"),
        None => path.to_owned(),
    }
}

/// The folder that a link of a page leads to, from the root, where it leads to one.
fn folder_of(page: &str, target: &str) -> Option<String> {
    let mut folder: Vec<&str> = page.split('/').collect();
    folder.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(folder.pop()),
            "." | "" => {}
            name => folder.push(name),
        }
    }
    let path = folder.join("/");
    run::repository().join(&path).is_dir().then_some(path)
}

/// A page with its links as the book has them. `folder` tells which of them lead to a folder.
fn linked(text: &str, folder: impl Fn(&str) -> Option<String>) -> String {
    let mut page = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((target, behind)) = after.split_once(')') else { break };
        let (path, anchor) = target.split_once('#').map_or((target, ""), |(path, anchor)| (path, anchor));
        let is_here = !path.is_empty() && !target.contains(':') && !target.contains(char::is_whitespace);
        let whole = page.len();
        page.push_str(before);
        match if is_here { folder(path) } else { None } {
            Some(folder) if folder == DECISIONS => page.push_str(&format!("]({path}/index.md)")),
            // Its words stay, and the bracket before them goes.
            Some(_) => {
                if let Some(bracket) = page[whole..].rfind('[') {
                    page.remove(whole + bracket);
                }
            }
            None => {
                let path = if is_here { in_book(path) } else { path.to_owned() };
                let anchor = if target.contains('#') { format!("#{anchor}") } else { String::new() };
                page.push_str(&format!("]({path}{anchor})"));
            }
        }
        rest = behind;
    }
    page + rest
}

/// The page that lists the decisions.
fn listed(decisions: &[(&str, String)]) -> String {
    let row = |(path, title): &(&str, String)| {
        let name = path.rsplit('/').next().unwrap_or(path);
        format!("- [{title}]({name})\n")
    };
    let rows: String = decisions.iter().map(row).collect();
    format!("# Decisions\n\nWhy things are as they are, each with what was turned down.\n\n{rows}")
}

/// The heading of a page.
fn title(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let heading = text.lines().find_map(|line| line.strip_prefix("# "));
    heading.map(str::to_owned).ok_or_else(|| format!("{}: it has no heading", path.display()))
}

/// Files that belong to the repository, new ones included.
fn known(paths: &[&str]) -> Result<Vec<String>, String> {
    let mut git = run::command("git", &["ls-files", "--cached", "--others", "--exclude-standard", "--"]);
    let output = git.args(paths).output().map_err(|error| format!("git: {error}"))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files: Vec<String> =
        listed.lines().filter(|path| run::repository().join(path).is_file()).map(str::to_owned).collect();
    files.sort();
    if files.is_empty() { Err(format!("git knows nothing of {}", paths.join(" "))) } else { Ok(files) }
}

fn copied(from: &Path, to: &Path) -> Result<(), String> {
    let bytes = fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
    made(to)?;
    fs::write(to, bytes).map_err(|error| format!("{}: {error}", to.display()))
}

fn written(to: &Path, text: &str) -> Result<(), String> {
    made(to)?;
    fs::write(to, text).map_err(|error| format!("{}: {error}", to.display()))
}

fn made(file: &Path) -> Result<(), String> {
    let folder = file.parent().map(PathBuf::from).unwrap_or_default();
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contents_are_told_from_the_root_and_a_page_that_is_missing_is_a_draft() {
        let contents = "# Summary\n\n[Tidewire](../README.md)\n\n- [Errors](errors.md)\n- [Later](later.md)\n- [Decisions](decisions)\n";
        let decisions = [("docs/decisions/0001-one.md", "1. One".to_owned())];
        let there = |path: &str| path != "docs/later.md";
        assert_eq!(
            summary(contents, &decisions, there),
            "# Summary\n\n[Tidewire](index.md)\n\n- [Errors](docs/errors.md)\n- [Later]()\n\
             - [Decisions](docs/decisions/index.md)\n  - [1. One](docs/decisions/0001-one.md)\n"
        );
    }

    #[test]
    fn a_readme_is_an_index_and_a_folder_is_no_link() {
        let folder = |path: &str| (!path.contains('.')).then(|| format!("docs/{path}"));
        let page = |text: &str| linked(text, folder);
        assert_eq!(page("[a](b/README.md#c), [d](e.md#f) [g](#h)"), "[a](b/index.md#c), [d](e.md#f) [g](#h)");
        assert_eq!(
            page("in [one `two`](three), or [all](decisions)"),
            "in one `two`, or [all](decisions/index.md)"
        );
        assert_eq!(
            page("[away](https://example.com/README.md) and `[]` ("),
            "[away](https://example.com/README.md) and `[]` ("
        );
    }
}

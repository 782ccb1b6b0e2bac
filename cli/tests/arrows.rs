//! The arrows between the crates of this workspace, and which crate may name which library.
//!
//! What is declared counts, for tests as well as for the build: a library that a crate does not name, it cannot use.
//! Tests may also name crates that their own stands on through others: that adds no arrow.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Every arrow between shared crates. `registry` may name `domain` because it stands on it through both of the crates
/// that it is built on. Functions and the command may name any shared crate, and never each other.
const ARROWS: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("features", &["domain"]),
    ("scoring", &["domain", "features"]),
    ("store", &["domain", "features"]),
    ("registry", &["domain", "features", "scoring", "store"]),
    ("runtime", &[]),
    ("opinion", &["domain", "features", "scoring"]),
    ("service", &["domain", "features", "registry", "runtime", "scoring", "store"]),
    ("world", &[]),
];

/// Crates that only tests and benchmarks name.
const FOR_TESTS: [&str; 1] = ["world"];
/// The feature that lets tests plant faults; what ships is built without it.
const PLANTING: &str = "planted-faults";

/// Libraries that belong to some crates: the beginning of their names, and whose they are. The first line that fits
/// counts.
const OWNED: [(&str, &[&str]); 6] = [
    ("aws-smithy-", &["store", "world"]),
    ("ort", &["scoring"]),
    ("aws-", &["store"]),
    ("serde_dynamo", &["store"]),
    ("lambda_runtime", &["runtime"]),
    ("lambda_http", &["runtime"]),
];

/// What pure crates do without: async runtimes, AWS, randomness. `proptest` brings its own, for tests alone.
const IMPURE: [&str; 13] = [
    "tokio",
    "async-std",
    "smol",
    "futures",
    "async-trait",
    "aws-",
    "lambda_",
    "reqwest",
    "hyper",
    "rand",
    "fastrand",
    "getrandom",
    "uuid",
];
const PURE: [&str; 2] = ["domain", "features"];

/// One crate of the workspace, as its Cargo.toml declares it.
#[derive(Clone)]
struct Package {
    name: String,
    /// Its folder, from the root of the workspace: `shared/domain`.
    folder: String,
    /// Kinds and names of what it builds, tests left out: `("bin", "score")`.
    targets: BTreeSet<(String, String)>,
    /// What the crate itself names; the name in the registry, whatever it is renamed to.
    dependencies: BTreeSet<String>,
    /// Whether it names a crate with planted faults for more than its tests.
    plants: bool,
    /// What only its tests name.
    test_dependencies: BTreeSet<String>,
}

fn packages(metadata: &Value) -> Vec<Package> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let root = text(&metadata["workspace_root"]);
    let all = metadata["packages"].as_array().unwrap().iter();
    all.map(|package| {
        let manifest = text(&package["manifest_path"]);
        let folder = Path::new(&manifest).parent().unwrap().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let targets = package["targets"].as_array().unwrap().iter();
        let dependencies = package["dependencies"].as_array().unwrap();
        let named = |wanted: &dyn Fn(&str) -> bool| {
            let all = dependencies.iter().filter(|one| wanted(one["kind"].as_str().unwrap_or_default()));
            all.map(|one| text(&one["name"])).collect()
        };
        Package {
            name: text(&package["name"]),
            folder,
            targets: targets
                .map(|target| (text(&target["kind"][0]), text(&target["name"])))
                .filter(|(kind, _)| kind == "bin" || kind == "lib")
                .collect(),
            dependencies: named(&|kind| kind != "dev"),
            plants: dependencies.iter().any(|one| {
                let mut features = one["features"].as_array().into_iter().flatten();
                one["kind"] != "dev" && features.any(|feature| feature == PLANTING)
            }),
            test_dependencies: named(&|kind| kind == "dev"),
        }
    })
    .collect()
}

fn workspace() -> Vec<Package> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    packages(&serde_json::from_slice(&output.stdout).unwrap())
}

/// Everything that is wrong with the workspace, a line each.
fn wrong(packages: &[Package]) -> Vec<String> {
    let arrows = BTreeMap::from(ARROWS);
    let ours: BTreeSet<&str> = packages.iter().map(|package| &*package.name).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = &*package.name;
        let of_ours = |named: &'_ BTreeSet<String>| -> BTreeSet<&str> {
            ours.iter().copied().filter(|other| named.contains(*other)).collect()
        };
        let (found, by_tests) = (of_ours(&package.dependencies), of_ours(&package.test_dependencies));
        let allowed: BTreeSet<&str> = match (package.folder.split_once('/'), arrows.get(name)) {
            (Some(("shared", _)), Some(arrows)) => arrows.iter().copied().collect(),
            (Some(("shared", _)), None) => {
                wrong.push(format!("`{name}` is a shared crate without a line in ARROWS"));
                continue;
            }
            _ => arrows.keys().copied().filter(|name| !FOR_TESTS.contains(name)).collect(),
        };
        wrong.extend(found.difference(&allowed).map(|other| format!("`{name}` must not stand on `{other}`")));
        if package.folder.starts_with("shared/") {
            wrong.extend(
                allowed.difference(&found).map(|other| format!("ARROWS lets `{name}` stand on `{other}`; it does not")),
            );
        }
        let reached = allowed.iter().flat_map(|other| reached(other)).chain(FOR_TESTS);
        let reached: BTreeSet<&str> = reached.collect();
        wrong.extend(by_tests.difference(&reached).map(|other| format!("tests of `{name}` must not name `{other}`")));
        if package.plants {
            wrong.push(format!("`{name}` would ship with `{PLANTING}`"));
        }
        wrong.extend(built(package));
        wrong.extend(libraries(package));
    }
    wrong.extend(arrows.keys().filter(|name| !ours.contains(*name)).map(|name| format!("there is no crate `{name}`")));
    wrong
}

/// The crate, and all that it stands on through others.
fn reached(name: &'static str) -> BTreeSet<&'static str> {
    let arrows = BTreeMap::from(ARROWS);
    let below = arrows[name].iter().flat_map(|other| reached(other));
    below.chain([name]).collect()
}

/// Folder = package = binary for functions, folder = package = library for shared crates, `moderato` in `cli`.
fn built(package: &Package) -> Vec<String> {
    let Package { name, folder, targets, .. } = package;
    let has = |kind: &str| targets.contains(&(kind.to_owned(), name.clone()));
    let binaries = targets.iter().filter(|(kind, _)| kind == "bin").count();
    let fine = match folder.split_once('/') {
        Some(("functions", folder)) => folder == name && has("bin") && binaries == 1,
        Some(("shared", folder)) => folder == name && has("lib") && binaries == 0,
        _ if folder == "infra/endpoint" => name == "endpoint" && has("bin") && binaries == 1,
        _ => folder == "cli" && name == "moderato" && has("bin") && binaries == 1,
    };
    if fine { Vec::new() } else { vec![format!("`{folder}` holds package `{name}` with {targets:?}")] }
}

/// Libraries that the crate must not name.
fn libraries(package: &Package) -> Vec<String> {
    let mut wrong = Vec::new();
    for dependency in package.dependencies.union(&package.test_dependencies) {
        let owner = OWNED.iter().find(|(library, _)| is(dependency, library)).map(|(_, owners)| *owners);
        if owner.is_some_and(|owners| !owners.contains(&&*package.name)) {
            wrong.push(format!("`{}` must not name `{dependency}`", package.name));
        }
        if PURE.contains(&&*package.name) && IMPURE.iter().any(|library| is(dependency, library)) {
            wrong.push(format!("`{}` is pure and must not name `{dependency}`", package.name));
        }
    }
    wrong
}

/// `aws-` and `lambda_` stand for all that begin so, other names for themselves and their parts (`ort`, `ort-sys`).
fn is(dependency: &str, library: &str) -> bool {
    if library.ends_with(['-', '_']) {
        return dependency.starts_with(library);
    }
    dependency.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

#[test]
fn crates_stand_on_what_the_contract_allows() {
    assert_eq!(wrong(&workspace()), Vec::<String>::new());
}

#[test]
fn planted_faults_are_found() {
    let change = |name: &str, change: &dyn Fn(&mut Package)| {
        let mut packages = workspace();
        change(packages.iter_mut().find(|package| package.name == name).unwrap());
        wrong(&packages)
    };
    let needs = |name: &str, dependency: &str| {
        change(name, &|package| drop(package.dependencies.replace(dependency.to_owned())))
    };
    for (name, dependency) in [
        ("domain", "features"),
        ("features", "scoring"),
        ("scoring", "store"),
        ("store", "scoring"),
        ("registry", "runtime"),
        ("runtime", "domain"),
        ("store", "score"),
        ("moderato", "score"),
        ("score", "moderato"),
        ("escalate", "score"),
        ("endpoint", "escalate"),
        ("opinion", "store"),
        ("score", "world"),
        ("store", "world"),
    ] {
        assert_eq!(needs(name, dependency), [format!("`{name}` must not stand on `{dependency}`")]);
    }
    for (name, dependency) in [
        ("moderato", "ort"),
        ("features", "ort-sys"),
        ("registry", "aws-sdk-s3"),
        ("score", "aws-config"),
        ("moderato", "serde_dynamo"),
        ("score", "lambda_runtime"),
    ] {
        assert_eq!(needs(name, dependency), [format!("`{name}` must not name `{dependency}`")]);
    }
    for dependency in ["tokio", "futures", "async-trait", "rand", "rand_core", "fastrand", "getrandom"] {
        assert_eq!(needs("domain", dependency), [format!("`domain` is pure and must not name `{dependency}`")]);
    }
    let tests_need = |name: &str, dependency: &str| {
        change(name, &|package| drop(package.test_dependencies.replace(dependency.to_owned())))
    };
    assert_eq!(tests_need("registry", "features"), Vec::<String>::new());
    assert_eq!(tests_need("domain", "features"), ["tests of `domain` must not name `features`"]);
    assert_eq!(tests_need("scoring", "store"), ["tests of `scoring` must not name `store`"]);
    assert_eq!(tests_need("registry", "ort"), ["`registry` must not name `ort`"]);
    assert!(is("ort", "ort") && !is("orthogonal", "ort"));
    assert_eq!(change("scoring", &|package| package.dependencies.retain(|other| other != "features")).len(), 1);
    assert_eq!(change("score", &|package| package.folder = "functions/judge".to_owned()).len(), 1);
    assert_eq!(change("moderato", &|package| package.targets.clear()).len(), 1);
    let second = ("bin".to_owned(), "helper".to_owned());
    assert_eq!(change("score", &|package| drop(package.targets.replace(second.clone()))).len(), 1);
    let shipped = change("score", &|package| package.plants = true);
    assert_eq!(shipped, ["`score` would ship with `planted-faults`"]);
    assert!(wrong(&[]).len() == ARROWS.len());
    let mut packages = workspace();
    packages.push(Package { name: "helpers".to_owned(), folder: "shared/helpers".to_owned(), ..packages[0].clone() });
    assert_eq!(wrong(&packages), ["`helpers` is a shared crate without a line in ARROWS"]);
}

#[test]
fn test_only_and_renamed_dependencies_count() {
    let metadata = json!({"workspace_root": "/w", "packages": [{
        "name": "domain", "manifest_path": "/w/shared/domain/Cargo.toml",
        "targets": [{"kind": ["lib"], "name": "domain"}, {"kind": ["test"], "name": "laws"}],
        "dependencies": [{"name": "tokio", "rename": "innocent", "kind": "dev"}],
    }]});
    let found = packages(&metadata);
    assert_eq!(found[0].targets.len(), 1);
    assert_eq!(libraries(&found[0]), ["`domain` is pure and must not name `tokio`"]);
}

//! The Hub's client against a Hub with faults: what broke off is taken up, what is wrong is not kept, the token stays at
//! home, and the cache is one that other programs know.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tallow::model::hub::{HubOptions, Kind, Query, Refused, cached_repos, fetch_with, search_datasets, search_models};

use crate::fake_hub::{FakeHub, TOKEN, etag};
use crate::golden::Outcome;

const MODEL: &str = "people/small";
const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn options(hub: &FakeHub, cache: &Path) -> HubOptions {
    let silence = Some(Duration::from_millis(700));
    HubOptions { endpoint: Some(hub.address.clone()), cache_dir: Some(cache.to_path_buf()), silence, ..HubOptions::default() }
}

/// Weights of a drawn length, and what belongs to them.
fn small_model(hub: &FakeHub, draw: &mut fastrand::Rng) -> Vec<u8> {
    let weights: Vec<u8> = (0..draw.usize(20_000..400_000)).map(|_| draw.u8(..)).collect();
    let tokenizer: Vec<u8> = (0..draw.usize(1..9000)).map(|_| draw.u8(..)).collect();
    let files = [("config.json", b"{}".to_vec()), ("model.safetensors", weights.clone()), ("tokenizer.json", tokenizer)];
    hub.put(&format!("models/{MODEL}"), COMMIT, &files);
    weights
}

fn get(options: &HubOptions) -> Result<PathBuf, String> {
    fetch_with(options, MODEL, "main", &mut |_, _, _| {}).map_err(|e| e.to_string())
}

#[test]
fn broken_transfers_are_taken_up_where_they_ended() -> Outcome {
    for seed in 0..12 {
        let mut draw = fastrand::Rng::with_seed(seed);
        let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
        let weights = small_model(&hub, &mut draw);
        let cuts: Vec<usize> = (0..draw.usize(1..5)).map(|_| draw.usize(1..weights.len() / 5)).collect();
        let (ranges, bare) = (draw.bool(), draw.bool());
        (hub.state().faults.cuts, hub.state().faults.bare_list) = (cuts.clone(), bare);
        hub.state().faults.no_ranges = !ranges && cuts.len() == 1;
        let folder = get(&options(&hub, cache.path())).map_err(|e| anyhow::anyhow!("seed {seed}: {e}"))?;
        assert_eq!(std::fs::read(folder.join("model.safetensors"))?, weights, "seed {seed}");
        let tag = etag(&weights);
        let asked: Vec<Option<usize>> = hub.seen().iter().filter(|s| s.at_store && s.path.contains(&tag)).map(|s| from(&s.range)).collect();
        let ends = cuts.iter().scan(0, |sum, cut| {
            *sum += cut;
            Some(Some(*sum))
        });
        assert_eq!(asked, std::iter::once(None).chain(ends).collect::<Vec<_>>(), "seed {seed}: every try begins where the last ended");
        assert!(cached_repos(&options(&hub, cache.path()))[0].incomplete.is_empty(), "seed {seed}");
    }
    Ok(())
}

fn from(range: &Option<String>) -> Option<usize> {
    range.as_ref()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

#[test]
fn a_download_that_ended_in_its_middle_goes_on_in_the_next_one() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let weights = small_model(&hub, &mut fastrand::Rng::with_seed(1));
    // Five transfers in a row that bring nothing more.
    hub.state().faults.cuts = [vec![9000], vec![0; 5]].concat();
    let refused = get(&options(&hub, cache.path())).unwrap_err();
    assert!(refused.contains("model.safetensors") && refused.contains("cannot be reached"), "{refused}");
    let left = &cached_repos(&options(&hub, cache.path()))[0];
    assert_eq!((left.incomplete_bytes, left.revisions[0].has_weights), (9000, false));
    hub.seen();
    let folder = get(&options(&hub, cache.path())).map_err(anyhow::Error::msg)?;
    assert_eq!(std::fs::read(folder.join("model.safetensors"))?, weights);
    let starts: Vec<Option<usize>> = hub.seen().iter().filter(|s| s.path.contains(&etag(&weights))).map(|s| from(&s.range)).collect();
    assert_eq!(starts, [Some(9000)]);
    Ok(())
}

#[test]
fn what_has_another_hash_is_not_kept() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let weights = small_model(&hub, &mut fastrand::Rng::with_seed(2));
    hub.state().faults.wrong = 1;
    let refused = get(&options(&hub, cache.path())).unwrap_err();
    assert!(refused.contains("another hash") && refused.contains("model.safetensors"), "{refused}");
    let left = &cached_repos(&options(&hub, cache.path()))[0];
    assert_eq!((left.incomplete_bytes, left.revisions[0].has_weights), (0, false), "nothing of it is left");
    // The damage is in the half of an earlier try: the file is fetched anew.
    let half = cache.path().join(format!("models--people--small/blobs/{}.incomplete", etag(&weights)));
    std::fs::write(half, vec![7; 5000])?;
    let folder = get(&options(&hub, cache.path())).map_err(anyhow::Error::msg)?;
    assert_eq!(std::fs::read(folder.join("model.safetensors"))?, weights);
    // Small files have hashes, too.
    std::fs::remove_dir_all(cache.path().join("models--people--small"))?;
    let tag = etag(b"{}");
    std::fs::create_dir_all(cache.path().join("models--people--small/blobs"))?;
    std::fs::write(cache.path().join(format!("models--people--small/blobs/{tag}.incomplete")), b"[]")?;
    let folder = get(&options(&hub, cache.path())).map_err(anyhow::Error::msg)?;
    assert_eq!(std::fs::read(folder.join("config.json"))?, b"{}");
    Ok(())
}

#[test]
fn a_silent_connection_has_an_end() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let weights = small_model(&hub, &mut fastrand::Rng::with_seed(3));
    hub.state().faults.silent = 2;
    let begun = Instant::now();
    let folder = get(&options(&hub, cache.path())).map_err(anyhow::Error::msg)?;
    assert_eq!(std::fs::read(folder.join("model.safetensors"))?, weights);
    assert!((Duration::from_millis(1300)..Duration::from_secs(8)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    Ok(())
}

#[test]
fn a_busy_hub_is_asked_again_after_the_time_that_it_names() -> Outcome {
    for header in ["retry-after: 1", "ratelimit: \"api\";r=0;t=1"] {
        let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
        small_model(&hub, &mut fastrand::Rng::with_seed(4));
        hub.state().faults.busy = Some((2, header));
        let begun = Instant::now();
        get(&options(&hub, cache.path())).map_err(anyhow::Error::msg)?;
        assert!((Duration::from_millis(1900)..Duration::from_secs(10)).contains(&begun.elapsed()), "{header}: {:?}", begun.elapsed());
        // A search does not wait for minutes.
        hub.state().faults.busy = Some((1, "retry-after: 290"));
        let begun = Instant::now();
        let refused = search_models(&options(&hub, cache.path()), &Query { limit: 3, ..Query::default() }).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(1) && refused.hint().contains("290 seconds"), "{refused}");
    }
    Ok(())
}

#[test]
fn the_token_goes_to_the_hub_alone_and_gated_models_say_so() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    small_model(&hub, &mut fastrand::Rng::with_seed(5));
    hub.state().repos.values_mut().for_each(|r| r.gated = true);
    let refused = get(&options(&hub, cache.path())).unwrap_err();
    assert!(refused.contains("403") && refused.contains("gated") && refused.contains("restricted"), "{refused}");
    let with = HubOptions { token: Some(TOKEN.into()), ..options(&hub, cache.path()) };
    hub.seen();
    get(&with).map_err(anyhow::Error::msg)?;
    let seen = hub.seen();
    assert!(seen.iter().any(|s| s.at_store) && seen.iter().any(|s| !s.at_store));
    assert!(seen.iter().all(|s| s.token.is_some() != s.at_store), "{seen:?}");
    Ok(())
}

#[test]
fn a_few_bytes_at_a_time_do_not_go_on_for_ever() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    small_model(&hub, &mut fastrand::Rng::with_seed(9));
    hub.state().faults.cuts = vec![10; 10_000];
    get(&options(&hub, cache.path())).unwrap_err();
    let asked = hub.seen().iter().filter(|s| s.at_store).count();
    assert!(asked < 20, "{asked} requests");
    Ok(())
}

#[test]
fn a_file_that_is_shorter_than_announced_is_not_fetched_for_ever() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let weights = small_model(&hub, &mut fastrand::Rng::with_seed(8));
    hub.state().faults.announced.insert("model.safetensors".into(), weights.len() as u64 + 10);
    let refused = get(&options(&hub, cache.path())).unwrap_err();
    assert!(refused.contains("416") && hub.seen().iter().filter(|s| s.at_store).count() < 8, "{refused}");
    Ok(())
}

#[test]
fn what_the_disk_has_no_room_for_is_not_begun() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    small_model(&hub, &mut fastrand::Rng::with_seed(6));
    hub.state().faults.announced.insert("model.safetensors".into(), 1 << 60);
    let refused = get(&options(&hub, cache.path())).unwrap_err();
    assert!(refused.contains("HF_HUB_CACHE") && refused.contains("GB"), "{refused}");
    assert_eq!(hub.seen().len(), 1, "only the list of files was asked for");
    Ok(())
}

#[test]
fn names_that_lead_out_of_the_cache_are_not_followed() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let files = [("config.json", b"{}".to_vec()), ("model.safetensors", vec![1; 10]), ("../../../../out.json", b"{}".to_vec())];
    hub.put(&format!("models/{MODEL}"), COMMIT, &files);
    get(&options(&hub, &cache.path().join("a/b"))).map_err(anyhow::Error::msg)?;
    assert!(!hub.seen().iter().any(|s| s.path.contains("out.json")));
    for commit in ["../../x", "", "a/b"] {
        hub.put(&format!("models/{MODEL}"), commit, &files);
        let refused = get(&options(&hub, &cache.path().join("c"))).unwrap_err();
        assert!(refused.contains("is no commit"), "{refused}");
    }
    Ok(())
}

#[test]
fn commits_share_what_they_have_in_common_and_go_one_by_one() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let options = options(&hub, cache.path());
    let mut weights = small_model(&hub, &mut fastrand::Rng::with_seed(7));
    let first = get(&options).map_err(anyhow::Error::msg)?;
    // The next commit has other weights and the same tokenizer.
    weights[0] ^= 1;
    let next = "fedcba9876543210fedcba9876543210fedcba98";
    {
        let mut state = hub.state();
        let repo = state.repos.values_mut().next().unwrap();
        repo.commit = next.into();
        repo.files.insert("model.safetensors".into(), weights.clone());
    }
    let second = get(&options).map_err(anyhow::Error::msg)?;
    let repos = cached_repos(&options);
    let repo = &repos[0];
    assert_eq!((repos.len(), repo.id.as_str(), repo.kind, repo.revisions.len()), (1, MODEL, Kind::Model, 2));
    let (kept, old) = (&repo.revisions[0], &repo.revisions[1]);
    assert_eq!((kept.commit.as_str(), kept.refs.as_slice(), old.refs.len()), (next, ["main".to_owned()].as_slice(), 0));
    assert_eq!((kept.own_bytes, old.own_bytes), (weights.len() as u64, weights.len() as u64));
    let on_disk: u64 = std::fs::read_dir(repo.path.join("blobs"))?.map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(repo.bytes, on_disk);
    repo.delete_revision(&old.commit)?;
    assert!(!first.exists() && second.join("tokenizer.json").is_file());
    assert_eq!(std::fs::read(second.join("model.safetensors"))?, weights);
    assert_eq!(cached_repos(&options)[0].bytes, repo.bytes - weights.len() as u64);
    cached_repos(&options)[0].delete()?;
    assert!(cached_repos(&options).is_empty() && !repo.path.exists());
    Ok(())
}

#[test]
fn searches_say_what_is_known_of_each() -> Outcome {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let options = options(&hub, cache.path());
    for (i, name) in
        ["models/a/small-one", "models/b/Small-two", "models/b/large", "datasets/c/rows", "models/d/small\u{1b}[31m"].iter().enumerate()
    {
        hub.put(name, COMMIT, &[]);
        let (_, id) = name.split_once('/').unwrap();
        hub.state().repos.get_mut(*name).unwrap().found = json!({"id": id, "downloads": 10 * (i % 4), "likes": 100 - i, "gated": if i == 1 { json!("manual") } else { json!(false) },
            "tags": ["safetensors", "license:mit", "size_categories:1K<n<10K", "format:parquet", "language:de"], "pipeline_tag": "text-generation",
            "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "mainSize": 12345, "description": "Some\n\trows  of\nthings.",
            "safetensors": {"parameters": {"BF16": 1000, "F32": 10}, "total": 1010}, "cardData": {"license": "other", "license_name": "own"}});
    }
    let query =
        |words: &str, owner: Option<&str>| Query { words: words.into(), owner: owner.map(str::to_owned), limit: 10, ..Query::default() };
    let ids = |q: &Query| search_models(&options, q).map(|all| all.into_iter().map(|m| m.id).collect::<Vec<_>>());
    assert_eq!(
        ids(&query("small", None)).unwrap(),
        ["b/Small-two", "a/small-one"],
        "the most downloads first, and what is no id is left out"
    );
    assert_eq!(ids(&query("", Some("b"))).unwrap(), ["b/large", "b/Small-two"]);
    assert_eq!(ids(&Query { limit: 1, ..query("", None) }).unwrap(), ["b/large"]);
    assert!(ids(&Query { tags: vec!["license:mit".into(), "gguf".into()], ..query("", None) }).unwrap().is_empty());
    let model = &search_models(&options, &query("two", None)).unwrap()[0];
    assert_eq!((model.gated, model.licence.as_deref(), model.parameters, model.bytes), (true, Some("own"), Some(1010), Some(2040)));
    assert_eq!((model.architecture.as_deref(), model.downloads, model.likes), (Some("LlamaForCausalLM"), 10, 99));
    let rows = &search_datasets(&options, &query("rows", None)).unwrap()[0];
    assert_eq!(
        (rows.rows.as_deref(), rows.bytes, rows.formats.as_slice()),
        (Some("1K<n<10K"), Some(12345), ["parquet".to_owned()].as_slice())
    );
    assert_eq!((rows.about.as_deref(), rows.gated), (Some("Some rows of things."), false));
    hub.seen();
    let offline = HubOptions { offline: true, ..options };
    assert_eq!(search_models(&offline, &query("x", None)), Err(Refused::Offline));
    assert!(hub.seen().is_empty(), "offline means offline");
    let nobody = HubOptions { endpoint: Some("http://127.0.0.1:9".into()), ..HubOptions::default() };
    assert!(search_models(&nobody, &query("x", None)).unwrap_err().is_silence());
    Ok(())
}

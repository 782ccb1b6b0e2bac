//! What differs between two policies, in lines for people: ids and bounds first.

use crate::terminal::line;
use domain::Policy;
use domain::policy::{Adviser, Band, IfUnavailable, Rule, SecondOpinion};
use std::collections::BTreeMap;

/// The lines, each beginning with `+`, `-` or `~`; none where nothing that decides differs.
pub fn difference(before: &Policy, after: &Policy) -> Vec<String> {
    let parts: [(&str, Part); 6] = [
        ("leading harm", |policy| BTreeMap::from([(policy.leading_harm.clone(), String::new())])),
        ("band", |policy| policy.bands.values().flatten().map(|band| (band.id.clone(), told_band(band))).collect()),
        ("rule", |policy| policy.rules.iter().map(|rule| (rule.id.clone(), told_rule(rule))).collect()),
        ("required", |policy| policy.required.iter().map(|name| (name.to_string(), String::new())).collect()),
        ("lane", |policy| {
            let told = |name: &str, priority, minutes| {
                let rest = if *name == policy.review_lane { ", for what nothing else asked for" } else { "" };
                format!("priority {priority}, due in {minutes} minutes{rest}")
            };
            let lanes = policy.lanes.iter();
            lanes.map(|(name, lane)| (name.clone(), told(name, lane.priority, lane.due_minutes))).collect()
        }),
        ("second opinions", |policy| {
            policy.second_opinion.iter().map(|asked| (String::new(), told_opinion(asked))).collect()
        }),
    ];
    parts.iter().flat_map(|(what, part)| changes(what, &part(before), &part(after))).collect()
}

/// Things of a policy by their ids, with all that is to be known of each.
type Part = fn(&Policy) -> BTreeMap<String, String>;

fn changes(what: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let told = |sign: char, id: &str, rest: &str| {
        let words = [what, id].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        line(&if rest.is_empty() { format!("{sign} {words}") } else { format!("{sign} {words}: {rest}") })
    };
    let gone = before.iter().filter(|(id, _)| !after.contains_key(*id)).map(|(id, was)| told('-', id, was));
    let here = after.iter().filter_map(|(id, is)| match before.get(id) {
        None => Some(told('+', id, is)),
        Some(was) if was != is => Some(told('~', id, &format!("{was} -> {is}"))),
        Some(_) => None,
    });
    gone.chain(here).collect()
}

fn told_band(band: &Band) -> String {
    let lane = band.lane.as_ref().map(|lane| format!(" in {lane}")).unwrap_or_default();
    format!("from {} {}{lane}", band.from, band.decision)
}

fn told_rule(rule: &Rule) -> String {
    let bounds = rule.at_least.iter().map(|(harm, from)| format!(" and {harm} at least {from}")).collect::<String>();
    let ignored =
        if rule.if_unavailable == IfUnavailable::Ignore { ", left out where its evidence is unavailable" } else { "" };
    format!("{} in {} for {} when {}{bounds}{ignored}", rule.decision, rule.lane, rule.harm, rule.source)
}

fn told_opinion(asked: &SecondOpinion) -> String {
    let SecondOpinion { by, bands, media, timeout_ms, due_seconds, daily_budget_usd, usd_per_hour } = asked;
    let by = match by {
        Adviser::Endpoint => "endpoint",
        Adviser::Lambda => "lambda",
    };
    let bands = bands.iter().map(String::as_str).chain(media.then_some("media")).collect::<Vec<_>>().join(", ");
    format!(
        "by {by} on {bands}, within {timeout_ms} ms and {due_seconds} s, for {daily_budget_usd} USD a day at {usd_per_hour} an hour"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::policy::FALLBACK;
    use features::views::Definitions;

    fn policy(text: &str) -> Policy {
        Policy::load_untested(text, &Definitions::bundled().unwrap().schema()).unwrap()
    }

    #[test]
    fn what_decides_is_told_and_nothing_else() {
        let default = policy(FALLBACK);
        let against = |text: &str| difference(&default, &policy(text));
        assert_eq!(against(&FALLBACK.replace("id: default\n", "id: other\n")), Vec::<String>::new());
        let bound = FALLBACK.replace("{ id: hate-high, from: 0.8,", "{ id: hate-high, from: 0.9,");
        assert_ne!(bound, FALLBACK);
        assert_eq!(against(&bound).len(), 1);
        assert!(against(&bound)[0].starts_with("~ band hate-high: from 0.8 hide in "), "{:?}", against(&bound));
        assert!(against(&bound)[0].contains(" -> from 0.9 hide in "), "{:?}", against(&bound));
        let asks = policy(include_str!("../../shared/domain/policies/second-opinion.yaml"));
        let told = difference(&default, &asks);
        let opinions = "+ second opinions: by endpoint on hate-uncertain, media, within 3000 ms and 60 s, for 40 USD a day at 1.408 an hour";
        assert!(told.iter().any(|line| line == opinions), "{told:?}");
        let back = difference(&asks, &default);
        assert!(back.iter().any(|line| line.starts_with("- second opinions: ")), "{back:?}");
        assert_eq!(told.len(), back.len());
    }

    #[test]
    fn a_rule_that_changed_is_told_whole() {
        let id = policy(FALLBACK).rules[0].id.clone();
        let renamed = policy(&FALLBACK.replace(&format!("id: {id}\n"), "id: zzz\n"));
        let told = difference(&policy(FALLBACK), &renamed);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with(&format!("- rule {id}: ")) && told[1].starts_with("+ rule zzz: "), "{told:?}");
        assert!(told[0].contains(" when "));
    }
}

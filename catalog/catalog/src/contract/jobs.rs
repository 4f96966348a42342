//! What [`crate::Jobs`] promises.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use super::{dataset, refused, user};
use crate::event::{Change, JobEnd, Subject};
use crate::job::{Claim, Hold, Job, JobError, JobFilter, JobState, MAX_LINE, MAX_LOG_LINES, NewJob, Outcome, Progress};
use crate::page::Page;
use crate::{Catalog, JobId};

/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(600);
/// Over at once.
const SHORT: Duration = Duration::from_millis(1);

/// The suite of [`crate::Jobs`].
pub async fn jobs(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    a_job_goes_from_submission_to_result(make().await).await;
    the_highest_priority_goes_first_then_the_oldest(make().await).await;
    a_worker_gets_only_what_it_can_do(make().await).await;
    a_tenant_has_only_so_many_running(make().await).await;
    a_key_has_one_live_job(make().await).await;
    a_job_that_fails_is_tried_again_later(make().await).await;
    a_lost_job_is_given_back_and_its_worker_refused(make().await).await;
    a_job_that_is_lost_each_time_fails(make().await).await;
    a_job_can_be_cancelled_in_every_state(make().await).await;
    a_job_given_back_waits_as_if_never_begun(make().await).await;
    a_log_keeps_its_last_lines(make().await).await;
    lists_are_filtered_and_paged(make().await).await;
    a_page_of_long_jobs_ends_early(make().await).await;
    only_so_many_of_a_tenant_wait(make().await).await;
    ended_jobs_expire(make().await).await;
    whoever_waits_for_work_is_woken(make().await).await;
    many_claim_and_each_job_is_done_once(make().await).await;
    many_claim_and_no_tenant_has_too_many(make().await).await;
}

fn claim(kinds: &[&str], lease: Duration) -> Claim {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    Claim { kinds, worker: "here".to_owned(), lease, per_tenant: 100 }
}

fn hold(job: &Job) -> Hold {
    Hold { job: job.id, fence: job.fence }
}

async fn submit(catalog: &Arc<dyn Catalog>, job: NewJob) -> Job {
    catalog.submit_job(job).await.expect("submitted")
}

async fn take(catalog: &Arc<dyn Catalog>, lease: Duration) -> Option<Job> {
    catalog.claim_job(&claim(&["work"], lease)).await.expect("answer")
}

async fn show(catalog: &Arc<dyn Catalog>, id: JobId) -> Job {
    catalog.job(id).await.expect("answer").expect("it is there")
}

/// Claims until the lease of a job that is held has run out.
async fn take_over(catalog: &Arc<dyn Catalog>) -> Job {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(job) = take(catalog, LONG).await {
            return job;
        }
        assert!(Instant::now() < deadline, "the lease never ran out");
        tokio::task::yield_now().await;
    }
}

async fn a_job_goes_from_submission_to_result(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let about = dataset(&catalog, "geo.a", &ann).await;
    let about = Subject { dataset_id: about.id, dataset: about.name };
    let new = NewJob {
        params: json!({"sql": "SELECT 'ä'", "n": [1, null]}),
        labels: BTreeMap::from([("team".to_owned(), "maps".to_owned())]),
        by: Some(ann.id),
        dataset: Some(about.clone()),
        priority: -7,
        max_attempts: 3,
        ..NewJob::new("work", "ann")
    };
    let made = submit(&catalog, new.clone()).await;
    assert_eq!((made.state, made.fence, made.attempts, made.cancelled), (JobState::Waiting, 0, 0, false));
    assert_eq!((made.kind.as_str(), made.tenant.as_str(), made.priority), ("work", "ann", -7));
    assert_eq!((&made.params, &made.labels, made.by), (&new.params, &new.labels, Some(ann.id)));
    assert_eq!(show(&catalog, made.id).await, made);
    assert_eq!(catalog.job(JobId::generate()).await.expect("answer"), None);
    assert_eq!(catalog.job_counts().await.expect("counts").waiting, 1);

    let job = take(&catalog, LONG).await.expect("it waits");
    assert_eq!((job.id, job.state, job.fence, job.attempts), (made.id, JobState::Running, 1, 1));
    assert_eq!(job.worker.as_deref(), Some("here"));
    assert!(job.started_at.is_some() && job.lease_until > job.started_at);
    assert_eq!(take(&catalog, LONG).await, None, "it is taken");
    let counts = catalog.job_counts().await.expect("counts");
    assert_eq!((counts.waiting, counts.running, counts.oldest), (0, 1, None));

    let progress = Progress { done: 3, total: Some(10), unit: "rows".to_owned() };
    let asked = catalog.renew_job(hold(&job), LONG, Some(&progress), &["begun".to_owned()]).await;
    assert!(!asked.expect("held"), "nobody asked for its end");
    assert!(!catalog.renew_job(hold(&job), LONG, None, &[]).await.expect("held"));
    assert_eq!(show(&catalog, job.id).await.progress, Some(progress), "it stays until there is another");

    let before = catalog.last_event().await.expect("answer");
    let ended = catalog.end_job(hold(&job), Outcome::Done(json!({"rows": 10})), &["done".to_owned()]).await;
    let ended = ended.expect("held");
    assert_eq!((ended.state, ended.result.clone()), (JobState::Done, Some(json!({"rows": 10}))));
    assert_eq!((ended.lease_until, &ended.error), (None, &None));
    assert!(ended.ended_at >= ended.started_at && ended.expires_at > ended.ended_at);
    assert_eq!(show(&catalog, job.id).await, ended);
    let lines = catalog.job_log(job.id, 0).await.expect("a log");
    assert_eq!(lines.iter().map(|line| (line.n, line.text.as_str())).collect::<Vec<_>>(), [(1, "begun"), (2, "done")]);
    let told = catalog.events(before, 10).await.expect("a feed").events;
    let end =
        JobEnd { job: job.id, kind: "work".to_owned(), state: JobState::Done, by: Some(ann.id), about: Some(about) };
    assert_eq!(told.into_iter().map(|event| event.change).collect::<Vec<_>>(), [Change::JobEnded(end)]);
    refused(catalog.end_job(hold(&job), Outcome::Done(json!(1)), &[]).await, "job_not_held");
    refused(catalog.submit_job(NewJob::new("No", "ann")).await, "invalid_name");
}

async fn the_highest_priority_goes_first_then_the_oldest(catalog: Arc<dyn Catalog>) {
    let mut ids = Vec::new();
    for priority in [0, 5, 0, -5, 5] {
        ids.push(submit(&catalog, NewJob { priority, ..NewJob::new("work", "ann") }).await.id);
    }
    let mut order = Vec::new();
    while let Some(job) = take(&catalog, LONG).await {
        order.push(job.id);
    }
    assert_eq!(order, [ids[1], ids[4], ids[0], ids[2], ids[3]]);
}

async fn a_worker_gets_only_what_it_can_do(catalog: Arc<dyn Catalog>) {
    let other = submit(&catalog, NewJob::new("wor", "ann")).await;
    submit(&catalog, NewJob::new("work-more", "ann")).await;
    assert_eq!(take(&catalog, LONG).await, None);
    assert!(!catalog.wait_for_job(&claim(&["work"], LONG), Duration::ZERO).await.expect("answer"));
    assert_eq!(catalog.claim_job(&claim(&[], LONG)).await.expect("answer"), None);
    let found = catalog.claim_job(&claim(&["work", "wor"], LONG)).await.expect("answer");
    assert_eq!(found.map(|job| job.id), Some(other.id));
}

async fn a_tenant_has_only_so_many_running(catalog: Arc<dyn Catalog>) {
    for tenant in ["ann", "ann", "ann", "bob"] {
        submit(&catalog, NewJob::new("work", tenant)).await;
    }
    let two = Claim { per_tenant: 2, ..claim(&["work"], LONG) };
    let mut taken = Vec::new();
    while let Some(job) = catalog.claim_job(&two).await.expect("answer") {
        taken.push(job);
    }
    assert_eq!(taken.iter().map(|job| job.tenant.as_str()).collect::<Vec<_>>(), ["ann", "ann", "bob"]);
    assert!(!catalog.wait_for_job(&two, Duration::ZERO).await.expect("answer"), "nothing that may be begun");
    catalog.end_job(hold(&taken[0]), Outcome::Done(json!(null)), &[]).await.expect("held");
    assert!(catalog.wait_for_job(&two, LONG).await.expect("answer"));
    assert_eq!(catalog.claim_job(&two).await.expect("answer").map(|job| job.tenant), Some("ann".to_owned()));
}

async fn a_key_has_one_live_job(catalog: Arc<dyn Catalog>) {
    let keyed = NewJob { key: Some("upkeep:1".to_owned()), ..NewJob::new("work", "ann") };
    let first = submit(&catalog, keyed.clone()).await;
    let again = submit(&catalog, NewJob { priority: 9, ..keyed.clone() }).await;
    assert_eq!(again, first, "unchanged");
    let other = submit(&catalog, NewJob { key: Some("upkeep:2".to_owned()), ..NewJob::new("work", "ann") }).await;
    assert_ne!(other.id, first.id);
    let running = take(&catalog, LONG).await.expect("it waits");
    assert_eq!(submit(&catalog, keyed.clone()).await, running, "also while it runs");
    catalog.end_job(hold(&running), Outcome::Done(json!(1)), &[]).await.expect("held");
    let next = submit(&catalog, keyed.clone()).await;
    assert_ne!(next.id, first.id, "the key is free once the job has ended");
    let same = join_all((0..8).map(|_| catalog.submit_job(keyed.clone()))).await;
    assert!(same.into_iter().all(|job| job.expect("answer").id == next.id));
}

async fn a_job_that_fails_is_tried_again_later(catalog: Arc<dyn Catalog>) {
    let error = JobError { code: "storage_unavailable".to_owned(), detail: "try again".to_owned() };
    let failed = |retry| Outcome::Failed { error: error.clone(), retry };
    submit(&catalog, NewJob { max_attempts: 2, ..NewJob::new("work", "ann") }).await;
    let job = take(&catalog, LONG).await.expect("it waits");
    let rests = catalog.end_job(hold(&job), failed(true), &[]).await.expect("held");
    assert_eq!((rests.state, rests.attempts, rests.error.as_ref()), (JobState::Waiting, 1, Some(&error)));
    assert!(rests.run_after > rests.created_at, "it rests");
    assert_eq!(take(&catalog, LONG).await, None, "not before it has rested");
    assert_eq!(catalog.job_counts().await.expect("counts").failing, 1);
    assert!(catalog.wait_for_job(&claim(&["work"], LONG), LONG).await.expect("it has rested"));
    let job = take(&catalog, LONG).await.expect("it waits");
    assert_eq!((job.fence, job.attempts), (2, 2));
    let failure = catalog.end_job(hold(&job), failed(true), &[]).await.expect("held");
    assert_eq!((failure.state, failure.error.as_ref()), (JobState::Failed, Some(&error)), "no more attempts");

    submit(&catalog, NewJob { max_attempts: 5, ..NewJob::new("work", "ann") }).await;
    let job = take(&catalog, LONG).await.expect("it waits");
    let failure = catalog.end_job(hold(&job), failed(false), &[]).await.expect("held");
    assert_eq!(failure.state, JobState::Failed, "it would fail again");
}

async fn a_lost_job_is_given_back_and_its_worker_refused(catalog: Arc<dyn Catalog>) {
    submit(&catalog, NewJob { max_attempts: 2, ..NewJob::new("work", "ann") }).await;
    let lost = take(&catalog, SHORT).await.expect("it waits");
    let found = take_over(&catalog).await;
    assert_eq!((found.id, found.fence, found.attempts), (lost.id, lost.fence + 1, 2));
    refused(catalog.renew_job(hold(&lost), LONG, None, &["late".to_owned()]).await, "job_not_held");
    refused(catalog.end_job(hold(&lost), Outcome::Done(json!("late")), &[]).await, "job_not_held");
    refused(catalog.end_job(hold(&lost), Outcome::GivenBack, &[]).await, "job_not_held");
    let job = catalog.end_job(hold(&found), Outcome::Done(json!("right")), &[]).await.expect("held");
    assert_eq!(job.result, Some(json!("right")));
    assert!(catalog.job_log(job.id, 0).await.expect("a log").is_empty(), "nothing of the one that was late");
}

async fn a_job_that_is_lost_each_time_fails(catalog: Arc<dyn Catalog>) {
    let made = submit(&catalog, NewJob::new("work", "ann")).await;
    take(&catalog, SHORT).await.expect("it waits");
    let deadline = Instant::now() + Duration::from_secs(10);
    while show(&catalog, made.id).await.state == JobState::Running {
        assert_eq!(take(&catalog, LONG).await, None, "it was begun as often as it may be");
        assert!(Instant::now() < deadline, "the lease never ran out");
    }
    let job = show(&catalog, made.id).await;
    assert_eq!((job.state, job.error), (JobState::Failed, Some(JobError::lost())));
}

async fn a_job_can_be_cancelled_in_every_state(catalog: Arc<dyn Catalog>) {
    let waiting = submit(&catalog, NewJob::new("work", "ann")).await;
    let ended = catalog.cancel_job(waiting.id).await.expect("there");
    assert_eq!(ended.state, JobState::Cancelled);
    assert!(ended.ended_at.is_some() && take(&catalog, LONG).await.is_none());
    assert_eq!(catalog.cancel_job(waiting.id).await.expect("there"), ended, "once is enough");

    // One whose worker hears of it, one whose worker fails over it, one whose worker stops, and one whose worker is lost.
    let error = JobError { code: "x".to_owned(), detail: String::new() };
    for outcome in
        [Some(Outcome::Cancelled), Some(Outcome::Failed { error, retry: true }), Some(Outcome::GivenBack), None]
    {
        submit(&catalog, NewJob { max_attempts: 9, ..NewJob::new("work", "ann") }).await;
        let lease = if outcome.is_some() { LONG } else { SHORT };
        let job = take(&catalog, lease).await.expect("it waits");
        let asked = catalog.cancel_job(job.id).await.expect("there");
        assert_eq!((asked.state, asked.cancelled), (JobState::Running, true));
        if let Some(outcome) = outcome {
            assert!(catalog.renew_job(hold(&job), LONG, None, &[]).await.expect("held"), "it hears of it");
            catalog.end_job(hold(&job), outcome, &[]).await.expect("held");
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while !show(&catalog, job.id).await.state.is_over() {
            assert_eq!(take(&catalog, LONG).await, None);
            assert!(Instant::now() < deadline, "it never ended");
        }
        assert_eq!(show(&catalog, job.id).await.state, JobState::Cancelled);
    }
    // What was done before it was heard of is done.
    submit(&catalog, NewJob::new("work", "ann")).await;
    let job = take(&catalog, LONG).await.expect("it waits");
    catalog.cancel_job(job.id).await.expect("there");
    let done = catalog.end_job(hold(&job), Outcome::Done(json!(1)), &[]).await.expect("held");
    assert_eq!(catalog.cancel_job(job.id).await.expect("there"), done);
    refused(catalog.cancel_job(JobId::generate()).await, "not_found");
}

async fn a_job_given_back_waits_as_if_never_begun(catalog: Arc<dyn Catalog>) {
    submit(&catalog, NewJob::new("work", "ann")).await;
    let job = take(&catalog, LONG).await.expect("it waits");
    let back = catalog.end_job(hold(&job), Outcome::GivenBack, &[]).await.expect("held");
    assert_eq!((back.state, back.attempts), (JobState::Waiting, 0));
    let again = take(&catalog, LONG).await.expect("at once");
    assert_eq!((again.id, again.fence, again.attempts), (job.id, 2, 1));
}

async fn a_log_keeps_its_last_lines(catalog: Arc<dyn Catalog>) {
    submit(&catalog, NewJob::new("work", "ann")).await;
    let job = take(&catalog, LONG).await.expect("it waits");
    let lines: Vec<_> = (1..=MAX_LOG_LINES + 10).map(|n| format!("line {n}")).collect();
    let (first, rest) = lines.split_at(7);
    catalog.renew_job(hold(&job), LONG, None, first).await.expect("held");
    catalog.renew_job(hold(&job), LONG, None, rest).await.expect("held");
    let odd = format!("a\0b\nc\u{7f}{}", "ä".repeat(MAX_LINE));
    catalog.renew_job(hold(&job), LONG, None, &[odd]).await.expect("held");
    let log = catalog.job_log(job.id, 0).await.expect("a log");
    let numbers: Vec<_> = log.iter().map(|line| line.n).collect();
    assert_eq!(numbers, (12..=MAX_LOG_LINES + 11).collect::<Vec<_>>());
    let last = log.last().expect("a line");
    assert_eq!((log[0].text.as_str(), last.text.chars().count()), ("line 12", MAX_LINE));
    assert!(last.text.starts_with("a b c ä"), "{}", last.text);
    let tail = catalog.job_log(job.id, MAX_LOG_LINES + 9).await.expect("a log");
    assert_eq!(tail.iter().map(|line| line.n).collect::<Vec<_>>(), [MAX_LOG_LINES + 10, MAX_LOG_LINES + 11]);
    assert!(catalog.job_log(JobId::generate(), 0).await.expect("answer").is_empty());
}

async fn lists_are_filtered_and_paged(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let about = dataset(&catalog, "geo.a", &ann).await;
    let about = Subject { dataset_id: about.id, dataset: about.name };
    let mut all = Vec::new();
    for n in 0..12 {
        let label = ("team".to_owned(), if n % 4 == 0 { "maps" } else { "=maps" }.to_owned());
        let new = NewJob {
            by: [Some(ann.id), Some(bob.id), None][n % 3],
            dataset: (n % 2 == 0).then(|| about.clone()),
            labels: BTreeMap::from([label]),
            ..NewJob::new(if n < 6 { "work" } else { "rest" }, "ann")
        };
        all.push(submit(&catalog, new).await);
    }
    all[3] = catalog.cancel_job(all[3].id).await.expect("there");
    all.reverse();
    let label = |word: &str| Some(("team".to_owned(), word.to_owned()));
    let none = JobFilter::default;
    for (filter, count) in [
        (none(), 12),
        (JobFilter { by: Some(ann.id), ..none() }, 4),
        (JobFilter { dataset: Some(about.dataset_id), ..none() }, 6),
        (JobFilter { kind: Some("rest".to_owned()), ..none() }, 6),
        (JobFilter { state: Some(JobState::Cancelled), ..none() }, 1),
        (JobFilter { label: label("maps"), ..none() }, 3),
        (JobFilter { label: label("=maps"), by: Some(ann.id), state: Some(JobState::Waiting), ..none() }, 2),
        (JobFilter { label: label("nothing"), ..none() }, 0),
    ] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = catalog.list_jobs(&filter, &Page { limit: 5, cursor }).await.expect("a page");
            found.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), count, "{filter:?}");
        let admitted = |job: &&Job| found.iter().any(|found| found.id == job.id);
        assert_eq!(found, all.iter().filter(admitted).cloned().collect::<Vec<_>>(), "the newest first");
    }
    refused(catalog.list_jobs(&none(), &Page { limit: 1, cursor: Some("x".to_owned()) }).await, "invalid_name");
}

async fn a_page_of_long_jobs_ends_early(catalog: Arc<dyn Catalog>) {
    let (long, mut all) = ("ä".repeat(NewJob::MAX_PARAMS / 2 - 10), Vec::new());
    for n in 0..12 {
        // Every third is short; of one the result is long.
        let params = if n % 3 == 0 { json!(n) } else { json!([long]) };
        all.push(submit(&catalog, NewJob { params, ..NewJob::new("work", "ann") }).await.id);
    }
    let first = take(&catalog, LONG).await.expect("they wait");
    catalog.end_job(hold(&first), Outcome::Done(json!([long, long, long, long])), &[]).await.expect("held");
    let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = catalog.list_jobs(&JobFilter::default(), &Page { limit: 10, cursor }).await.expect("a page");
        let before_last = page.items.iter().rev().skip(1).map(Job::size).sum::<u64>();
        assert!(before_last < Page::MAX_BYTES, "{before_last} bytes and more on one page");
        found.extend(page.items.iter().map(|job| job.id));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    all.reverse();
    assert_eq!(found, all);
    assert!(pages > 2, "12 MiB on {pages} pages");
}

async fn only_so_many_of_a_tenant_wait(catalog: Arc<dyn Catalog>) {
    let of = |tenant: &str| NewJob { most_waiting: Some(3), ..NewJob::new("work", tenant) };
    let submitted = join_all((0..8).map(|_| catalog.submit_job(of("ann")))).await;
    let (kept, over): (Vec<_>, Vec<_>) = submitted.into_iter().partition(Result::is_ok);
    assert_eq!((kept.len(), over.len()), (3, 5));
    over.into_iter().for_each(|over| refused(over, "too_many_jobs"));
    submit(&catalog, of("bob")).await;
    submit(&catalog, NewJob::new("work", "ann")).await;
    take(&catalog, LONG).await.expect("they wait");
    refused(catalog.submit_job(of("ann")).await, "too_many_jobs");
    let waits = JobFilter { state: Some(JobState::Waiting), ..JobFilter::default() };
    let waiting = catalog.list_jobs(&waits, &Page::first(10)).await.expect("a page").items;
    let one = waiting.iter().find(|job| job.tenant == "ann").expect("three do");
    catalog.cancel_job(one.id).await.expect("there");
    submit(&catalog, of("ann")).await;
    refused(catalog.submit_job(of("ann")).await, "too_many_jobs");
    // What is there already takes no room.
    let keyed = NewJob { key: Some("same".to_owned()), ..of("cleo") };
    let first = submit(&catalog, keyed.clone()).await;
    let again = submit(&catalog, NewJob { most_waiting: Some(1), ..keyed }).await;
    assert_eq!(again.id, first.id);
}

async fn ended_jobs_expire(catalog: Arc<dyn Catalog>) {
    let brief = NewJob { keep_for: Duration::ZERO, ..NewJob::new("work", "ann") };
    let (gone, stays) = (submit(&catalog, brief.clone()).await, submit(&catalog, NewJob::new("work", "ann")).await);
    let running = submit(&catalog, brief).await;
    assert!(catalog.expired_jobs().await.expect("answer").is_empty(), "none has ended");
    catalog.cancel_job(gone.id).await.expect("there");
    catalog.cancel_job(stays.id).await.expect("there");
    let deadline = Instant::now() + Duration::from_secs(10);
    let expired = loop {
        let expired = catalog.expired_jobs().await.expect("answer");
        if !expired.is_empty() {
            break expired;
        }
        assert!(Instant::now() < deadline, "it never expired");
    };
    assert_eq!(expired, [Hold { job: gone.id, fence: gone.fence }]);
    catalog.forget_job(gone.id).await.expect("forgotten");
    catalog.forget_job(gone.id).await.expect("again");
    assert_eq!(catalog.job(gone.id).await.expect("answer"), None);
    catalog.forget_job(running.id).await.expect("nothing");
    assert_eq!(show(&catalog, running.id).await.state, JobState::Waiting, "what has not ended stays");
}

async fn whoever_waits_for_work_is_woken(catalog: Arc<dyn Catalog>) {
    let work = claim(&["work"], LONG);
    assert!(!catalog.wait_for_job(&work, Duration::from_millis(20)).await.expect("answer"));
    let (there, _) = futures::join!(catalog.wait_for_job(&work, LONG), submit(&catalog, NewJob::new("work", "ann")));
    assert!(there.expect("answer"));
    let job = take(&catalog, Duration::from_millis(20)).await.expect("it waits");
    assert!(catalog.wait_for_job(&work, LONG).await.expect("answer"), "its lease runs out");
    assert_eq!(take(&catalog, LONG).await, None, "it may be begun once");
    refused(catalog.end_job(hold(&job), Outcome::Cancelled, &[]).await, "job_not_held");
}

async fn many_claim_and_each_job_is_done_once(catalog: Arc<dyn Catalog>) {
    const JOBS: usize = 60;
    for n in 0..JOBS {
        submit(&catalog, NewJob { max_attempts: 9, ..NewJob::new("work", &format!("tenant {}", n % 7)) }).await;
    }
    let work = async |worker: usize| {
        let (mut done, claim) = (Vec::new(), Claim { worker: worker.to_string(), ..claim(&["work"], LONG) });
        while let Some(job) = catalog.claim_job(&claim).await.expect("answer") {
            assert_eq!(job.worker, Some(worker.to_string()));
            let ended = catalog.end_job(hold(&job), Outcome::Done(json!(worker)), &[]).await.expect("held");
            done.push(ended.id);
        }
        done
    };
    let mut done: Vec<_> = join_all((0..8).map(work)).await.concat();
    done.sort();
    done.dedup();
    assert_eq!(done.len(), JOBS);
    let page = catalog.list_jobs(&JobFilter::default(), &Page::first(1_000)).await.expect("a page");
    assert!(page.items.iter().all(|job| (job.state, job.attempts, job.fence) == (JobState::Done, 1, 1)));
}

async fn many_claim_and_no_tenant_has_too_many(catalog: Arc<dyn Catalog>) {
    for tenant in ["ann", "bob"] {
        for _ in 0..10 {
            submit(&catalog, NewJob::new("work", tenant)).await;
        }
    }
    let three = Claim { per_tenant: 3, ..claim(&["work"], LONG) };
    let taken = join_all((0..16).map(|_| catalog.claim_job(&three))).await;
    let taken: Vec<_> = taken.into_iter().filter_map(|job| job.expect("answer")).collect();
    for tenant in ["ann", "bob"] {
        let running = taken.iter().filter(|job| job.tenant == tenant).count();
        assert!(running <= 3, "{tenant} has {running}");
    }
    let mut more = 0;
    while catalog.claim_job(&three).await.expect("answer").is_some() {
        more += 1;
    }
    assert_eq!(taken.len() + more, 6, "and none is forgotten");
}

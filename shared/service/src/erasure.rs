//! Erasing an author or a post from the stores, so that nothing of it comes back.
//!
//! First come the tombstones by which messages that are under way are known ([`Eraser::announce`]). Once whatever began before them has
//! ended ([`SETTLED`]), everything that is found is erased ([`Eraser::sweep`]). Any of it may be done again, and in part.

use crate::quarantine;
use domain::{AuthorId, DigestKey, KeyedDigest, PostId, Revision, Timestamp, Tombstone};
use features::views::{Definitions, Entity, FeatureRow, Lookup, RowKey};
use futures::future::try_join_all;
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Deadline, DecisionStore, Erased, FeatureStore, Grave, ObjectStore, Page, Search, StoreError};

/// No invocation that began before the tombstones were there lasts longer.
pub const SETTLED: Duration = Duration::from_secs(60);
/// Posts that are worked on at a time.
const AT_ONCE: usize = 16;
/// By when a call has to be answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who or what is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Everything that an author wrote, and what is known of the author.
    Author(AuthorId),
    /// A post, whoever wrote it.
    Post(PostId),
}

/// How much was erased, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Decisions.
    pub decisions: u64,
    /// Feature rows with values.
    pub features: u64,
    /// Originals in quarantine, by their digests: one may be found by its post and by its author.
    pub quarantined: BTreeSet<String>,
    /// Decisions that name the subject and could not be read.
    pub unreadable: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        let Self { decisions, features, quarantined, unreadable } = more;
        self.decisions += decisions;
        self.features += features;
        self.quarantined.extend(quarantined);
        self.unreadable += unreadable;
    }
}

/// Erases one subject: what was sent before an instant.
pub struct Eraser<'a> {
    /// The decisions.
    pub decisions: &'a dyn DecisionStore,
    /// The features.
    pub features: &'a dyn FeatureStore,
    /// Where quarantine is.
    pub objects: &'a dyn ObjectStore,
    /// The bucket of quarantine.
    pub bucket: &'a str,
    /// What features there are.
    pub definitions: &'a Definitions,
    /// The deployment's key for digests.
    pub key: &'a DigestKey,
    /// Who or what is erased.
    pub subject: &'a Subject,
    /// What is sent from here on stays.
    pub at: Timestamp,
    /// Whether anything is erased; otherwise it is only counted.
    pub erases: bool,
}

impl Eraser<'_> {
    /// Stands for the subject where its id may not stand.
    #[must_use]
    pub fn digest(&self) -> KeyedDigest {
        match self.subject {
            Subject::Author(author) => self.key.author(author),
            Subject::Post(post) => self.key.post(post),
        }
    }

    fn tombstone(&self) -> Tombstone {
        let author = matches!(self.subject, Subject::Author(_)).then(|| self.digest());
        Tombstone { erased_at: self.at, author }
    }

    /// Puts up the tombstones by which a message that is under way is known. Gives what stood in their place.
    ///
    /// # Errors
    /// Where not all of them are known to stand.
    pub async fn announce(&self) -> Result<Counts, StoreError> {
        match self.subject {
            Subject::Author(_) => drop(self.bury(&[Grave::Author(self.digest())]).await?),
            Subject::Post(post) => {
                let stands = self.bury(&[Grave::Post(post.clone(), Revision::FIRST)]).await?;
                // Somebody posted it again since: what is under way from before has to find its tombstone all the same.
                if stands.contains(&Erased::Later) {
                    self.bury(&[Grave::Below(post.clone())]).await?;
                }
            }
        }
        Ok(Counts { features: self.forget(self.own_rows()).await?, ..Counts::default() })
    }

    /// Erases, or counts, what these searches find, and what is known of it; `looked` sees every page.
    ///
    /// # Errors
    /// The first call that failed: what was erased by then is.
    pub async fn sweep(&self, searches: Vec<Search>, looked: &(dyn Fn(&Page) + Sync)) -> Result<Counts, StoreError> {
        let mut counts = Counts {
            features: self.forget(self.own_rows()).await?,
            quarantined: self.release(self.digest()).await?,
            ..Counts::default()
        };
        for found in try_join_all(searches.into_iter().map(|search| self.follow(search, looked))).await? {
            counts += found;
        }
        Ok(counts)
    }

    async fn follow(&self, search: Search, looked: &(dyn Fn(&Page) + Sync)) -> Result<Counts, StoreError> {
        let (mut counts, mut posts, mut next) = (Counts::default(), BTreeSet::new(), Some(search));
        while let Some(search) = next {
            let page = self.decisions.find(search, Deadline::now() + PATIENCE).await?;
            looked(&page);
            let sent_before = page.found.into_iter().filter(|found| found.received_at < self.at);
            let found: Vec<_> = sent_before.map(|found| (found.post, found.revision)).collect();
            // The posts first: were it the decisions, nobody would find them again after a fall in between.
            let new: Vec<_> =
                found.iter().filter(|(post, _)| posts.insert(post.clone())).map(|(post, _)| post).collect();
            for posts in new.chunks(AT_ONCE) {
                for known in try_join_all(posts.iter().map(|post| self.known_of(post))).await? {
                    counts += known;
                }
            }
            let graves: Vec<_> = found.into_iter().map(|(post, revision)| Grave::Post(post, revision)).collect();
            self.bury(&graves).await?;
            counts.decisions += graves.len() as u64;
            counts.unreadable += page.unreadable;
            next = page.next;
        }
        Ok(counts)
    }

    /// What is kept about a post besides its decisions.
    async fn known_of(&self, post: &PostId) -> Result<Counts, StoreError> {
        // The subject itself is done.
        if matches!(self.subject, Subject::Post(subject) if subject == post) {
            return Ok(Counts::default());
        }
        let features = self.forget(self.definitions.rows_of(Entity::PostId, post.as_str())).await?;
        Ok(Counts { features, quarantined: self.release(self.key.post(post)).await?, ..Counts::default() })
    }

    async fn bury(&self, graves: &[Grave]) -> Result<Vec<Erased>, StoreError> {
        if !self.erases || graves.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.decisions.erase(graves, &self.tombstone(), Deadline::now() + PATIENCE).await;
        answers.into_iter().collect()
    }

    fn own_rows(&self) -> Vec<RowKey> {
        match self.subject {
            Subject::Author(author) => self.definitions.rows_of(Entity::AuthorId, author.as_str()).collect(),
            Subject::Post(post) => self.definitions.rows_of(Entity::PostId, post.as_str()).collect(),
        }
    }

    /// Puts tombstones in the place of rows, of missing ones too: nobody shall load them again. Gives how many had values.
    async fn forget(&self, rows: impl IntoIterator<Item = RowKey>) -> Result<u64, StoreError> {
        let keys: BTreeSet<RowKey> = rows.into_iter().collect();
        let found = self.features.fetch(&keys, Deadline::now() + PATIENCE).await;
        // A row in a shape that nobody can read is one.
        let known = found.values().filter(|lookup| match lookup {
            Lookup::Found(row) => !row.values.is_empty(),
            Lookup::Missing => false,
            Lookup::Unavailable => true,
        });
        let count = known.count() as u64;
        let is_done = |key: &RowKey| {
            let row = found.get(key).and_then(|lookup| if let Lookup::Found(row) = lookup { Some(row) } else { None });
            row.is_some_and(|row| row.erased_at.is_some_and(|at| at >= self.at))
        };
        let open = keys.into_iter().filter(|key| !is_done(key)).map(|key| FeatureRow::tombstone(key, self.at));
        let open: Vec<_> = open.collect();
        if self.erases && !open.is_empty() {
            self.features.put(&open, Deadline::now() + PATIENCE).await?;
        }
        Ok(count)
    }

    /// Lets go of originals in quarantine that came before. Gives their digests.
    async fn release(&self, whose: KeyedDigest) -> Result<BTreeSet<String>, StoreError> {
        let kept = quarantine::about(self.objects, self.bucket, whose, self.at, Deadline::now() + PATIENCE).await?;
        for sha256 in kept.iter().filter(|_| self.erases) {
            quarantine::erase(self.objects, self.bucket, whose, sha256, Deadline::now() + PATIENCE).await?;
        }
        Ok(kept.into_iter().collect())
    }
}

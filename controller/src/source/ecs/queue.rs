//! The SQS queue that EventBridge's rules fill, by long polls. A message is deleted only after it was taken in; what comes
//! twice is told apart by the versions in it.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use futures_util::stream::{self, Stream};

use super::calls::Calls;
use super::client::{CallError, Fault, fault, words};
use super::pace::backoff;

/// Seconds that SQS waits for a message; the most it takes.
const WAIT: i32 = 20;
/// Messages of one answer; the most it gives.
pub const BATCH: usize = 10;

/// One queue; for one controller alone, since a message goes to one reader.
#[derive(Clone, Debug)]
pub struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: String,
    calls: Calls,
}

/// Where the next poll starts from.
struct Polls {
    queue: Queue,
    /// Receipts of what was handed over.
    taken: Vec<String>,
    failures: u32,
}

impl Queue {
    /// The queue at `url`.
    pub fn new(config: &SdkConfig, url: &str, calls: Calls) -> Self {
        let config = config.to_builder().retry_config(RetryConfig::disabled()).build();
        Self { sqs: aws_sdk_sqs::Client::new(&config), url: url.to_owned(), calls }
    }

    /// Bodies of messages as they come; an empty answer after 20 quiet seconds. To ask for the next answer says that the
    /// one before was taken in. Never ends: a failure is told, and the next poll waits.
    pub fn polls(self) -> impl Stream<Item = Result<Vec<String>, CallError>> {
        stream::unfold(Polls { queue: self, taken: Vec::new(), failures: 0 }, |mut polls| async move {
            let answer = polls.next().await;
            Some((answer, polls))
        })
    }

    async fn delete(&self, receipts: &[String]) {
        let entry = |(n, receipt): (usize, &String)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(receipt);
            entry.build().expect("an entry has an id and a receipt")
        };
        let entries: Vec<_> = receipts.iter().enumerate().map(entry).collect();
        if entries.is_empty() {
            return;
        }
        self.calls.begun("sqs:DeleteMessage");
        let request = self.sqs.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        if let Err(error) = request.send().await {
            // They come again, and change nothing then.
            self.calls.failed("sqs:DeleteMessage");
            tracing::debug!("{}", words("sqs:DeleteMessage", fault(&error), &error));
        }
    }
}

impl Polls {
    async fn next(&mut self) -> Result<Vec<String>, CallError> {
        const OPERATION: &str = "sqs:ReceiveMessage";
        let taken = std::mem::take(&mut self.taken);
        self.queue.delete(&taken).await;
        if self.failures > 0 {
            tokio::time::sleep(backoff(self.failures, fastrand::f64())).await;
        }
        self.queue.calls.begun(OPERATION);
        let request = self.queue.sqs.receive_message().queue_url(&self.queue.url);
        match request.wait_time_seconds(WAIT).max_number_of_messages(BATCH as i32).send().await {
            Ok(answer) => {
                self.failures = 0;
                let messages = answer.messages.unwrap_or_default();
                self.taken.extend(messages.iter().filter_map(|message| message.receipt_handle.clone()));
                Ok(messages.into_iter().filter_map(|message| message.body).collect())
            }
            Err(error) => {
                let fault = fault(&error);
                match fault {
                    Fault::Throttled => self.queue.calls.throttled(OPERATION),
                    _ => self.queue.calls.failed(OPERATION),
                }
                self.failures += 1;
                let what = format!("{}: {}", self.queue.url, words(OPERATION, fault, &error));
                Err(CallError::of(OPERATION, what, fault))
            }
        }
    }
}

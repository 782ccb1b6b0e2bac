//! `moderato blocklist`: images that are known, by their perceptual hashes. The escalate function takes up a change within a minute.

use crate::Failure;
use crate::stack::{Stack, soon};
use crate::terminal::{say, tell};
use clap::Subcommand;
use opinion::images::{BLOCK_LIST_KEY, BlockList, MAX_BLOCK_LIST_BYTES, decode, pdq};
use opinion::protocol::MAX_IMAGE_BYTES;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{Object, ObjectStore};

/// Works on the list of images that are known.
#[derive(Debug, Subcommand)]
pub enum BlocklistCommand {
    /// Prints a line of the list for each image file: `hash,name`. No stack is asked.
    Hash {
        /// JPEG, PNG, WebP or GIF files.
        #[arg(required = true)]
        images: Vec<PathBuf>,
    },
    /// Prints the stack's list.
    Show,
    /// Checks a list, lines of `hash,name`, and puts it in the place of the stack's.
    Publish {
        /// The list.
        file: PathBuf,
    },
}

/// `moderato blocklist hash`: exits with 1 where a file has no hash.
pub fn hash(images: &[PathBuf]) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    for image in images {
        match hash_of(image) {
            Ok(hash) => {
                // A comma or a line break would end the name.
                let name = image.file_name().unwrap_or_default().to_string_lossy().replace([',', '\n', '\r'], "_");
                say!("{hash},{name}");
            }
            Err(why) => {
                tell!("`{}` has no hash: {why}", image.display());
                code = ExitCode::from(1);
            }
        }
    }
    Ok(code)
}

fn hash_of(image: &Path) -> Result<pdq::Pdq, String> {
    let mut file = Vec::new();
    let most = u64::try_from(MAX_IMAGE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::fs::File::open(image).and_then(|opened| opened.take(most).read_to_end(&mut file));
    read.map_err(|error| error.to_string())?;
    let decoded = decode::decode(&file).map_err(|error| format!("{error:?}"))?;
    let (hash, quality) = pdq::hash(&decoded.pixels);
    if quality < pdq::LEAST_QUALITY {
        return Err(format!("too little is in it to tell it from others (quality {quality} of 100)"));
    }
    Ok(hash)
}

/// The commands on a stack.
pub async fn run(command: &BlocklistCommand, stack: &Stack) -> Result<ExitCode, Failure> {
    match command {
        BlocklistCommand::Hash { images } => hash(images),
        BlocklistCommand::Show => {
            let object = stack.objects().get(stack.bucket()?, BLOCK_LIST_KEY, MAX_BLOCK_LIST_BYTES, soon()).await?;
            if let Some(object) = object {
                say!("{}", String::from_utf8_lossy(&object.bytes).trim_end());
            }
            Ok(ExitCode::SUCCESS)
        }
        BlocklistCommand::Publish { file } => {
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("reading `{}`: {error}", file.display()))?;
            if text.len() > MAX_BLOCK_LIST_BYTES {
                return Err(format!("`{}` has more than {MAX_BLOCK_LIST_BYTES} bytes", file.display()).into());
            }
            let list: BlockList = text.parse().map_err(|error| format!("`{}`: {error}", file.display()))?;
            let object = Object { bytes: text.into_bytes(), metadata: BTreeMap::new() };
            stack.objects().put(stack.bucket()?, BLOCK_LIST_KEY, object, soon()).await?;
            say!("{} images are known now", list.len());
            Ok(ExitCode::SUCCESS)
        }
    }
}

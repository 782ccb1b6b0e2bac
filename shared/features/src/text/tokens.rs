//! Cutting a text into tokens that remember where they came from.

use std::ops::Range;

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A run of letters and digits, or a piece of a very long one.
    Word,
    /// One character that is neither a letter, a digit nor white space.
    Symbol,
    /// A web address, whatever its content.
    Url,
    /// A handle such as `@name`, or the placeholder of one.
    User,
    /// The placeholder of a number in a corpus that removed them; a written number stays a word.
    Number,
}

/// A token and its place in the raw text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it stands for.
    pub kind: TokenKind,
    /// Where it stands, in bytes of the raw text; both ends on character boundaries.
    pub bytes: Range<usize>,
    /// Where it stands, in Unicode scalar values of the raw text.
    pub chars: Range<usize>,
    pub(super) folded: Range<usize>,
}

/// A text cut into tokens, with its characters in lower case. No `Debug`: it must not end up in a log.
#[derive(Clone, Default)]
pub struct Tokenised {
    pub(super) tokens: Vec<Token>,
    pub(super) folded: Vec<char>,
}

impl Tokenised {
    /// The tokens in order of their start. Pieces of one very long word overlap; no others do.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The token's lower-case characters; empty for addresses, handles and placeholders, whose content is not kept.
    pub fn folded(&self, token: &Token) -> &[char] {
        self.folded.get(token.folded.clone()).unwrap_or_default()
    }
}

/// Words longer than this many lower-case characters are cut into pieces of this length.
pub(super) const LONGEST_WORD: usize = 64;
/// Characters shared by neighbouring pieces of a cut word, so that no shorter n-gram is lost at the cut.
pub(super) const PIECE_OVERLAP: usize = 8;

/// Placeholders that public corpora put in the place of what they removed.
const PLACEHOLDERS: [(&str, TokenKind); 6] = [
    ("<user>", TokenKind::User),
    ("[user]", TokenKind::User),
    ("<url>", TokenKind::Url),
    ("[url]", TokenKind::Url),
    ("<number>", TokenKind::Number),
    ("[number]", TokenKind::Number),
];

/// Cuts `text` into tokens. White space separates and is dropped; everything else belongs to a token.
pub fn tokenise(text: &str) -> Tokenised {
    let mut out = Tokenised::default();
    let mut byte = 0;
    let mut char_index = 0;
    let mut after_word = false;
    while let Some(rest) = text.get(byte..)
        && let Some(first) = rest.chars().next()
    {
        if first.is_whitespace() {
            byte += first.len_utf8();
            char_index += 1;
            after_word = false;
            continue;
        }
        let (kind, length) = match special(rest, first, after_word) {
            Some(found) => found,
            None if first.is_alphanumeric() => {
                (TokenKind::Word, rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()))
            }
            None => (TokenKind::Symbol, first.len_utf8()),
        };
        let raw = rest.get(..length).unwrap_or(rest);
        let chars = raw.chars().count();
        match kind {
            TokenKind::Word => push_word(&mut out, raw, byte, char_index),
            TokenKind::Symbol => push_plain(&mut out, kind, raw, byte, char_index, chars, Some(first)),
            _ => push_plain(&mut out, kind, raw, byte, char_index, chars, None),
        }
        after_word = kind == TokenKind::Word;
        byte += raw.len();
        char_index += chars;
    }
    out
}

/// Recognises what is folded whole: an address, a handle, a placeholder. Gives its kind and length in bytes.
fn special(rest: &str, first: char, after_word: bool) -> Option<(TokenKind, usize)> {
    if first == '<' || first == '[' {
        return PLACEHOLDERS.iter().find(|(name, _)| starts_with(rest, name)).map(|(name, kind)| (*kind, name.len()));
    }
    if after_word {
        return None;
    }
    if first == '@' {
        let name: usize = rest.bytes().skip(1).take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        return (name > 0).then_some((TokenKind::User, name + 1));
    }
    if ["http://", "https://", "www."].iter().any(|scheme| starts_with(rest, scheme)) {
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"'));
        return Some((TokenKind::Url, end.unwrap_or(rest.len())));
    }
    None
}

fn starts_with(text: &str, lower_ascii: &str) -> bool {
    text.get(..lower_ascii.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower_ascii))
}

fn push_plain(
    out: &mut Tokenised,
    kind: TokenKind,
    raw: &str,
    byte: usize,
    char_index: usize,
    chars: usize,
    symbol: Option<char>,
) {
    let start = out.folded.len();
    if let Some(symbol) = symbol {
        out.folded.extend(symbol.to_lowercase());
    }
    out.tokens.push(Token {
        kind,
        bytes: byte..byte + raw.len(),
        chars: char_index..char_index + chars,
        folded: start..out.folded.len(),
    });
}

/// Pushes a word, cut into overlapping pieces where it is longer than [`LONGEST_WORD`].
fn push_word(out: &mut Tokenised, raw: &str, byte: usize, char_index: usize) {
    let mut piece = Piece { folded: out.folded.len(), bytes: byte, chars: char_index };
    // Where the next piece will start: the first character that lies in the last `PIECE_OVERLAP` of this one.
    let mut next: Option<Piece> = None;
    let mut at = Piece { folded: out.folded.len(), bytes: byte, chars: char_index };
    for character in raw.chars() {
        let width = character.to_lowercase().count();
        if at.folded + width - piece.folded > LONGEST_WORD {
            out.tokens.push(piece.token(&at));
            piece = next.take().unwrap_or(at);
        }
        if next.is_none() && at.folded - piece.folded >= LONGEST_WORD - PIECE_OVERLAP {
            next = Some(at);
        }
        out.folded.extend(character.to_lowercase());
        at = Piece { folded: out.folded.len(), bytes: at.bytes + character.len_utf8(), chars: at.chars + 1 };
    }
    out.tokens.push(piece.token(&at));
}

/// A position in the lower-case characters, the raw bytes and the raw characters at once.
#[derive(Clone, Copy)]
struct Piece {
    folded: usize,
    bytes: usize,
    chars: usize,
}

impl Piece {
    fn token(&self, end: &Self) -> Token {
        Token {
            kind: TokenKind::Word,
            bytes: self.bytes..end.bytes,
            chars: self.chars..end.chars,
            folded: self.folded..end.folded,
        }
    }
}

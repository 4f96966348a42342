//! Bounds on the tokens, before anything recursive looks at them.
//!
//! The planner never yields and takes more than linear time in the depth of an expression, so a
//! deadline cannot stop it: a statement that would plan for more than a second is refused here or
//! in `weight`. The numbers were measured with `lakegate-query`'s `planning.rs`, which holds the worst accepted
//! statement of each shape under that second.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Result, StatementError};

/// Bytes of text.
pub const MAX_BYTES: usize = 256 * 1024;
/// Tokens that are not white space.
pub(crate) const MAX_TOKENS: usize = 20_000;
/// Brackets and CASEs open at one place.
pub(crate) const MAX_DEPTH: usize = 40;
/// Binary operators in the whole statement, AND and OR among them: a chain of them is a tree as
/// deep as it is long.
pub(crate) const MAX_OPERATORS: usize = 200;
/// JSON arrows in one path: each is a call around the one before.
pub(crate) const MAX_ARROWS: usize = 16;
/// Window functions.
pub(crate) const MAX_WINDOWS: usize = 100;
/// Prefix operators in a row.
pub(crate) const MAX_PREFIXES: usize = 16;

/// Checks the length of the text.
pub(crate) fn check_text(sql: &str) -> Result<()> {
    over("bytes of text", sql.len(), MAX_BYTES)
}

/// Checks the tokens of a whole text.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    Counts::default().check(tokens)
}

fn over(what: &'static str, count: usize, limit: usize) -> Result<()> {
    if count > limit { Err(StatementError::TooComplex { what, limit }) } else { Ok(()) }
}

/// What of the tokens is bounded.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    tokens: usize,
    depth: usize,
    operators: usize,
    arrows: usize,
    windows: usize,
    prefixes: usize,
}

impl Counts {
    /// Checks another whole text together with those before it.
    pub(crate) fn check(&mut self, tokens: &[TokenWithSpan]) -> Result<()> {
        (self.depth, self.arrows, self.prefixes) = (0, 0, 0);
        for token in tokens {
            self.add(&token.token);
            over("words and signs", self.tokens, MAX_TOKENS)?;
            over("levels of nesting", self.depth, MAX_DEPTH)?;
            over("operators", self.operators, MAX_OPERATORS)?;
            over("JSON arrows in one path", self.arrows, MAX_ARROWS)?;
            over("window functions", self.windows, MAX_WINDOWS)?;
            over("prefix operators in a row", self.prefixes, MAX_PREFIXES)?;
        }
        Ok(())
    }

    fn add(&mut self, token: &Token) {
        if matches!(token, Token::Whitespace(_)) {
            return;
        }
        self.tokens += 1;
        self.prefixes = if is_prefix(token) { self.prefixes + 1 } else { 0 };
        self.operators += usize::from(is_operator(token));
        self.arrows = self.arrows_after(token);
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => self.depth = self.depth.saturating_sub(1),
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::CASE => self.depth += 1,
                Keyword::OVER => self.windows += 1,
                Keyword::END => self.depth = self.depth.saturating_sub(1),
                _ => {}
            },
            _ => {}
        }
    }
}

impl Counts {
    /// A path goes on through names, keys and brackets; a comma, a word of SQL or another operator
    /// ends it.
    fn arrows_after(&self, token: &Token) -> usize {
        match token {
            Token::Arrow | Token::LongArrow | Token::HashArrow | Token::HashLongArrow => self.arrows + 1,
            Token::Comma => 0,
            Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => 0,
            other if is_operator(other) => 0,
            _ => self.arrows,
        }
    }
}

fn is_prefix(token: &Token) -> bool {
    match token {
        Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark | Token::AtSign => true,
        Token::PGSquareRoot | Token::PGCubeRoot | Token::Sharp | Token::AtAt => true,
        Token::Word(word) => word.quote_style.is_none() && matches!(word.keyword, Keyword::NOT | Keyword::PRIOR),
        _ => false,
    }
}

/// All that is neither a name, a literal nor punctuation is taken for an operator: a sign that this
/// list forgets is counted, not let through. A `*` counts too; few statements have many.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && is_operator_word(word.keyword),
        Token::EOF | Token::Char(_) | Token::Number(..) | Token::Whitespace(_) | Token::Placeholder(_) => false,
        Token::Comma | Token::Period | Token::SemiColon => false,
        Token::LParen | Token::RParen | Token::LBracket | Token::RBracket | Token::LBrace | Token::RBrace => false,
        _ => !is_string(token),
    }
}

fn is_operator_word(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(
        keyword,
        K::AND
            | K::OR
            | K::XOR
            | K::NOT
            | K::IS
            | K::IN
            | K::LIKE
            | K::ILIKE
            | K::SIMILAR
            | K::BETWEEN
            | K::RLIKE
            | K::REGEXP
            | K::DIV
            | K::OVERLAPS
            | K::COLLATE
            | K::AT
            | K::OPERATOR
            | K::WHEN
            | K::INTERVAL
            | K::CAST
            | K::JOIN
            | K::UNION
            | K::EXCEPT
            | K::INTERSECT
            | K::SELECT
    )
}

fn is_string(token: &Token) -> bool {
    use Token as T;
    matches!(
        token,
        T::SingleQuotedString(_)
            | T::DoubleQuotedString(_)
            | T::TripleSingleQuotedString(_)
            | T::TripleDoubleQuotedString(_)
            | T::DollarQuotedString(_)
            | T::SingleQuotedByteStringLiteral(_)
            | T::DoubleQuotedByteStringLiteral(_)
            | T::TripleSingleQuotedByteStringLiteral(_)
            | T::TripleDoubleQuotedByteStringLiteral(_)
            | T::SingleQuotedRawStringLiteral(_)
            | T::DoubleQuotedRawStringLiteral(_)
            | T::TripleSingleQuotedRawStringLiteral(_)
            | T::TripleDoubleQuotedRawStringLiteral(_)
            | T::NationalStringLiteral(_)
            | T::QuoteDelimitedStringLiteral(_)
            | T::NationalQuoteDelimitedStringLiteral(_)
            | T::EscapedStringLiteral(_)
            | T::UnicodeStringLiteral(_)
            | T::HexStringLiteral(_)
    )
}

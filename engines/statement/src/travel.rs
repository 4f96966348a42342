//! Older versions in the text: every way to write one becomes one quoted name, before the parser sees it.
//!
//! `ns.t@v12` is one identifier to the parser, `ns.t@'2026-01-31T00:00:00Z'` none, and `FOR VERSION AS OF` it does not
//! know; the planner ignores what it parses of this and reads the newest rows. So the tokens are rewritten to
//! `ns."t@v12"`, and each place must turn out to be a dataset's name: anywhere else the version would be lost.

use std::collections::BTreeSet;

use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Word};

use crate::error::{Result, StatementError};

/// Where versions were written.
pub(crate) type Places = BTreeSet<Location>;

/// Rewrites the tokens.
pub(crate) fn rewrite(tokens: &[TokenWithSpan]) -> Result<(Vec<TokenWithSpan>, Places)> {
    let mut rewriting = Rewriting { done: Vec::with_capacity(tokens.len()), places: Places::new() };
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        rest = match clause(rest)? {
            Some((moment, after)) => {
                rewriting.attach(&moment)?;
                after
            }
            None => rewriting.token(token, after)?,
        };
    }
    Ok((rewriting.done, rewriting.places))
}

/// Refuses a version that stands elsewhere than after a dataset's name.
pub(crate) fn check(places: &Places, used: &Places) -> Result<()> {
    match places.difference(used).next() {
        None => Ok(()),
        Some(_) => Err(misplaced()),
    }
}

fn misplaced() -> StatementError {
    StatementError::AsOf("a version stands directly after a dataset's name, as in demo.flights@v12".to_owned())
}

struct Rewriting {
    done: Vec<TokenWithSpan>,
    places: Places,
}

impl Rewriting {
    /// Takes a token over, and what belongs to it; answers what is left.
    fn token<'a>(&mut self, token: &TokenWithSpan, after: &'a [TokenWithSpan]) -> Result<&'a [TokenWithSpan]> {
        // After a quoted name the sign is a token of its own.
        let word = if token.token == Token::AtSign { Some("@") } else { unquoted(token) };
        let Some(word) = word.filter(|word| word.contains('@')) else {
            self.done.push(token.clone());
            return Ok(after);
        };
        let word = word.to_lowercase();
        let (name, moment) = word.split_once('@').unwrap_or((&word, ""));
        if !name.is_empty() {
            self.done.push(TokenWithSpan { token: quoted(name), span: token.span });
        } else if !self.done.last().is_some_and(|last| matches!(last.token, Token::Word(_))) {
            return Err(misplaced());
        }
        match (moment, after.split_first()) {
            ("", Some((TokenWithSpan { token: Token::SingleQuotedString(time), .. }, after))) => {
                self.attach(time)?;
                Ok(after)
            }
            _ => {
                self.attach(moment)?;
                Ok(after)
            }
        }
    }

    /// Puts a version behind the name that was taken over last.
    fn attach(&mut self, moment: &str) -> Result<()> {
        let last = self.done.iter_mut().rev().find(|token| !matches!(token.token, Token::Whitespace(_)));
        let Some(TokenWithSpan { token: Token::Word(word), span }) = last else { return Err(misplaced()) };
        if !self.places.insert(span.start) {
            return Err(StatementError::AsOf("a dataset is read at one version; there are two".to_owned()));
        }
        let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
        let name = format!("{name}@{moment}");
        *word = Word { value: name, quote_style: Some('"'), keyword: sqlparser::keywords::Keyword::NoKeyword };
        Ok(())
    }
}

fn quoted(name: &str) -> Token {
    Token::make_word(name, Some('"'))
}

fn unquoted(token: &TokenWithSpan) -> Option<&str> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(&word.value),
        _ => None,
    }
}

/// `[FOR] VERSION AS OF 12` and `[FOR] TIMESTAMP AS OF '…'` at the beginning of the tokens; answers the version, and
/// the tokens that follow. The standard's words SYSTEM_VERSION and SYSTEM_TIME are taken too.
fn clause(tokens: &[TokenWithSpan]) -> Result<Option<(String, &[TokenWithSpan])>> {
    let starts = tokens.first().and_then(unquoted);
    let explicit = starts.is_some_and(|word| word.eq_ignore_ascii_case("for"));
    let rest = if explicit { &tokens[1..] } else { tokens };
    let Some((by, rest)) = next(rest).and_then(|(token, rest)| Some((unquoted(token)?.to_lowercase(), rest))) else {
        return Ok(None);
    };
    let version = matches!(by.as_str(), "version" | "system_version");
    if !version && !matches!(by.as_str(), "timestamp" | "system_time") {
        return Ok(None);
    }
    let Some(rest) = keyword(rest, "as").and_then(|rest| keyword(rest, "of")) else { return Ok(None) };
    match next(rest) {
        Some((TokenWithSpan { token: Token::Number(number, false), .. }, rest)) if version => {
            Ok(Some((format!("v{number}"), rest)))
        }
        Some((TokenWithSpan { token: Token::SingleQuotedString(time), .. }, rest)) if !version => {
            Ok(Some((time.clone(), rest)))
        }
        // `SELECT version AS of FROM …` names a column; nothing else that begins with FOR is a column.
        _ if !explicit => Ok(None),
        _ => Err(StatementError::AsOf(
            "write FOR VERSION AS OF 12 or FOR TIMESTAMP AS OF '2026-01-31T00:00:00Z', with the value itself"
                .to_owned(),
        )),
    }
}

/// The next token that is not white space, and what follows it.
fn next(tokens: &[TokenWithSpan]) -> Option<(&TokenWithSpan, &[TokenWithSpan])> {
    let at = tokens.iter().position(|token| !matches!(token.token, Token::Whitespace(_)))?;
    Some((&tokens[at], &tokens[at + 1..]))
}

fn keyword<'a>(tokens: &'a [TokenWithSpan], word: &str) -> Option<&'a [TokenWithSpan]> {
    let (token, rest) = next(tokens)?;
    unquoted(token)?.eq_ignore_ascii_case(word).then_some(rest)
}

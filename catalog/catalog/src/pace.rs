//! How fast a line moves, so that those who find it full can be told when to come back.

use std::time::Duration;

use parking_lot::Mutex;

/// The mean time that places are held, the latest counting most.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Option<Duration>>);

impl Pace {
    /// The longest that anyone is told to stay away, in seconds: lines change faster than that.
    pub const MOST: u8 = 60;

    /// A place was held for this long.
    pub fn held(&self, time: Duration) {
        let mut mean = self.0.lock();
        *mean = Some(mean.map_or(time, |mean| (mean * 7 + time) / 8));
    }

    /// Whole seconds, 1 to [`Self::MOST`], until one who comes now behind `ahead` others would have one of `places`; 1 as
    /// long as nobody has given a place back.
    pub fn seconds(&self, ahead: usize, places: usize) -> u8 {
        let Some(mean) = *self.0.lock() else { return 1 };
        let rounds = (ahead + 1).div_ceil(places.max(1));
        let wait = mean.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        u8::try_from(seconds).unwrap_or(Self::MOST).clamp(1, Self::MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_the_line_and_the_slower_its_places_the_later() {
        let pace = Pace::default();
        assert_eq!(pace.seconds(500, 1), 1, "nothing is known yet");
        pace.held(Duration::from_millis(1_500));
        assert_eq!((pace.seconds(0, 4), pace.seconds(7, 4), pace.seconds(511, 64)), (2, 3, 12));
        assert_eq!(pace.seconds(usize::MAX - 1, 1), Pace::MOST);
        for _ in 0..40 {
            pace.held(Duration::from_millis(10));
        }
        assert_eq!(pace.seconds(7, 4), 1, "what was long ago hardly counts");
    }
}

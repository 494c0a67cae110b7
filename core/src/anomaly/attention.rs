//! What of a surprise is worth waking up for.
//!
//! An incident surprises by many samples on end, and a person needs to hear of it once. So a surprise
//! is heard if it is larger than what was heard lately, and each alarm makes the next one harder for
//! some days: a series that alarms all the time is a series that is like that.

use super::Setting;

/// Remembers what was heard.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    /// The last news, fading while the surprises are smaller.
    heard: f64,
    /// Alarms of late, fading.
    weariness: f64,
}

impl Attention {
    pub(super) const fn new() -> Self {
        Self { heard: 0.0, weariness: 0.0 }
    }

    /// What is left of `surprise`, 0 or more.
    pub(super) fn hear(&mut self, surprise: f64, setting: &Setting) -> f64 {
        let is_news = surprise > self.heard * setting.louder;
        // What grows slowly is news each time that it has grown enough: until then it is not heard.
        self.heard = if is_news {
            surprise
        } else {
            surprise.min(self.heard).max(self.heard * (1.0 - 1.0 / setting.calm))
        };
        let left = surprise - setting.weariness * self.weariness;
        let left = if is_news { left.max(0.0) } else { 0.0 };
        if left >= setting.alarm {
            self.weariness += 1.0;
        }
        self.weariness *= 1.0 - 1.0 / setting.recovery;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting =
        Setting { louder: 1.2, calm: 100.0, weariness: 0.5, recovery: 1_000.0, ..Setting::PRODUCT };
    const LOUD: f64 = 2.0 * Setting::PRODUCT.alarm;

    fn be_quiet(attention: &mut Attention, samples: usize) {
        for _ in 0..samples {
            attention.hear(0.0, &SETTING);
        }
    }

    #[test]
    fn a_thing_is_told_once_and_again_when_it_grows() {
        let mut attention = Attention::new();
        assert_eq!(attention.hear(LOUD, &SETTING), LOUD);
        for _ in 0..10 {
            assert_eq!(attention.hear(LOUD, &SETTING), 0.0);
        }
        assert!(attention.hear(1.5 * LOUD, &SETTING) > SETTING.alarm);
    }

    #[test]
    fn what_grows_slowly_is_told_when_it_is_loud_enough() {
        let mut attention = Attention::new();
        let told = (0..400).filter(|step| {
            attention.hear(LOUD * f64::from(*step) / 400.0, &SETTING) >= SETTING.alarm
        });
        // From the alarm to twice the alarm, by steps of a fifth: 1.2⁴ is 2.07.
        assert!((3..=4).contains(&told.count()));
    }

    #[test]
    fn what_was_heard_fades() {
        let told_again_after = |quiet: usize| {
            let mut attention = Attention::new();
            attention.hear(LOUD, &SETTING);
            be_quiet(&mut attention, quiet);
            attention.hear(LOUD, &SETTING) > 0.0
        };
        // 1.2 times e^(−t/100) is 1 at 18.
        assert!(!told_again_after(16) && told_again_after(19));
    }

    #[test]
    fn alarms_make_the_next_harder_for_a_while() {
        let mut attention = Attention::new();
        let told = (0..40).map(|_| {
            be_quiet(&mut attention, 30);
            attention.hear(LOUD, &SETTING) >= SETTING.alarm
        });
        let count = told.filter(|told| *told).count();
        // Twice the alarm is worn down by so many alarms, less what recovers meanwhile.
        let enough = (SETTING.alarm / SETTING.weariness) as usize;
        assert!((enough..40).contains(&count), "{count} of 40, {enough} would do at once");
        be_quiet(&mut attention, 10_000);
        assert!(attention.hear(LOUD, &SETTING) > 0.99 * LOUD);
    }

    #[test]
    fn what_is_no_alarm_wearies_nobody() {
        let mut attention = Attention::new();
        for _ in 0..1_000 {
            attention.hear(0.5 * SETTING.alarm, &SETTING);
        }
        assert!(attention.weariness == 0.0);
    }
}

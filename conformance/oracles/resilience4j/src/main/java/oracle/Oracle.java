package oracle;

import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.concurrent.TimeUnit;

/**
 * Resilience4j's breaker, driven by lines of standard input.
 *
 * <p>{@code new CALLS MINIMUM FAILURE% SLOW% SLOWER_THAN_MS WAIT_MS PERMITTED} makes another breaker,
 * {@code admit MS CALL} asks at a time, {@code settle MS CALL OUTCOME} tells it a result. Each of the last two
 * is answered by {@code > ADMITTED STATE}.
 */
public final class Oracle {
    private static final Duration FAST = Duration.ofMillis(1);
    private final SetClock clock = new SetClock();
    private CircuitBreaker breaker;
    private Duration slowerThan;

    public static void main(String[] arguments) throws IOException {
        Oracle oracle = new Oracle();
        PrintStream out = new PrintStream(System.out, false);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String told = oracle.step(line.split(" "));
            if (told != null) {
                out.println("> " + told);
            }
        }
        out.flush();
    }

    private String step(String[] words) {
        if (words[0].equals("new")) {
            make(words);
            return null;
        }
        clock.now = Instant.ofEpochMilli(Long.parseLong(words[1]));
        boolean isAdmitted = true;
        if (words[0].equals("admit")) {
            isAdmitted = breaker.tryAcquirePermission();
        } else {
            settle(words[3]);
        }
        return (isAdmitted ? "1 " : "0 ") + breaker.getState().name().toLowerCase();
    }

    private void make(String[] words) {
        int[] numbers = new int[words.length];
        for (int index = 1; index < words.length; index++) {
            numbers[index] = Integer.parseInt(words[index]);
        }
        slowerThan = Duration.ofMillis(numbers[5]);
        CircuitBreakerConfig config = CircuitBreakerConfig.custom()
            .slidingWindow(numbers[1], numbers[2], CircuitBreakerConfig.SlidingWindowType.COUNT_BASED)
            .failureRateThreshold(numbers[3])
            .slowCallRateThreshold(numbers[4])
            .slowCallDurationThreshold(slowerThan)
            .waitDurationInOpenState(Duration.ofMillis(numbers[6]))
            .permittedNumberOfCallsInHalfOpenState(numbers[7])
            .clock(clock)
            .build();
        clock.now = Instant.EPOCH;
        breaker = CircuitBreaker.of("oracle", config);
    }

    private void settle(String outcome) {
        switch (outcome) {
            case "success" -> breaker.onSuccess(FAST.toNanos(), TimeUnit.NANOSECONDS);
            case "slow" -> breaker.onSuccess(slowerThan.toNanos() + 1, TimeUnit.NANOSECONDS);
            case "failure" -> breaker.onError(FAST.toNanos(), TimeUnit.NANOSECONDS, new IOException());
            default -> breaker.releasePermission();
        }
    }

    /** A clock that stands until it is set. */
    private static final class SetClock extends Clock {
        private Instant now = Instant.EPOCH;

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }

        @Override
        public Instant instant() {
            return now;
        }
    }
}

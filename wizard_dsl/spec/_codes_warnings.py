"""W1xx: what runs, and is probably not meant."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

WARNING_CODES: Final = (
    Code(
        "W100", "unknown WIZARD_ variable",
        "A variable whose name begins with WIZARD_ is set, and nothing reads it. A misspelt one changes nothing, and "
        "nobody notices until it matters.",
        "# WIZARD_RETRY_MAX_ATTEMPT=5 wizard run triage.yaml",
        "# WIZARD_RETRY_MAX_ATTEMPTS=5 wizard run triage.yaml",
    ),
    Code(
        "W101", "an overlay removes what is not there",
        "In an overlay `null` removes a key, and there is none of that name below it: perhaps it was renamed.",
        "policies: {default: {retrys: null}}          # in an overlay",
        "policies: {default: {retry: null}}           # in an overlay",
    ),
    Code(
        "W102", "a mock stands in for a provider",
        "With WIZARD_ENV=development a provider whose key is not set is answered by the mock provider, so that a "
        "pipeline can be tried without an account. Everywhere else a missing key is an error (E031).",
        "# WIZARD_ENV=development, and OPENAI_API_KEY is not set\n"
        "providers: {openai: {type: openai, api_key: '${env:OPENAI_API_KEY}'}}",
        "# WIZARD_ENV is not set, or the key is\nproviders: {openai: {type: openai, api_key: '${env:OPENAI_API_KEY}'}}",
    ),
    Code(
        "W110", "a timeout that is not below the deadline",
        "The total timeout of one attempt is as long as the deadline of the call, so that the first slow attempt uses "
        "up all the time and no fallback ever runs.",
        "policies: {default: {deadline: 40s, timeout: {total: 40s}}}",
        "policies: {default: {deadline: 90s, timeout: {total: 40s}}}",
    ),
    Code(
        "W111", "nothing is known about a model",
        "The price library does not know the model, so neither its window nor its abilities can be checked before the "
        "run, and its cost counts as unknown. Say what you know under `models`.",
        "chains: {default: {targets: [vllm/our-model]}}\nproviders: {vllm: {type: vllm}}",
        "chains: {default: {targets: [vllm/our-model]}}\n"
        "providers: {vllm: {type: vllm, models: {our-model: {context: 32768, tools: true}}}}",
    ),
    Code(
        "W112", "an unusual order of policies",
        "`stack` puts the policies into an order by hand, and this one defeats one of them: a retry inside the breaker "
        "counts each attempt, a cache below the retry stores nothing more, and so on. Leave `stack` out for the "
        "canonical order.",
        "policies: {default: {stack: [retry, cache, timeout], retry: 3, cache: 1h, timeout: 40s}}",
        "policies: {default: {retry: 3, cache: 1h, timeout: 40s}}",
    ),
    Code(
        "W113", "settings that contradict each other",
        "Each key of the policy is right by itself, and together they make no sense: one of them can never have an "
        "effect. The message says which, and why.",
        "policies: {default: {retry: {base: 10s, max_delay: 2s}}}",
        "policies: {default: {retry: {base: 1s, max_delay: 30s}}}",
    ),
    Code(
        "W114", "a parameter that a provider does not have",
        "Common parameters such as `seed` or `stop` do not exist in every protocol. Where one is missing it is left "
        "out, so that a fallback target does not fail on it, and its answers may differ for that. A name that is not "
        "known is sent as it is, for there are many; one letter off a common one it is a mistake.",
        "providers: {claude: {type: anthropic, api_key: '${env:ANTHROPIC_API_KEY}'}}\n"
        "chains: {default: {targets: [claude/claude-sonnet-4-5]}}\n"
        "steps: {answer: {prompt: {user: Hello}, params: {seed: 7}}}",
        "providers: {claude: {type: anthropic, api_key: '${env:ANTHROPIC_API_KEY}'}}\n"
        "chains: {default: {targets: [claude/claude-sonnet-4-5]}}\n"
        "steps: {answer: {prompt: {user: Hello}, params: {temperature: 0}}}",
    ),
    Code(
        "W120", "a provider is not used",
        "No chain of this file has a target of the provider. Remove it, or add it to a chain.",
        "providers: {local: {type: embedded}, spare: {type: mock}}\nchains: {default: {targets: [local]}}",
        "providers: {local: {type: embedded}, spare: {type: mock}}\nchains: {default: {targets: [local, spare]}}",
    ),
    Code(
        "W121", "a chain is not used",
        "No step uses the chain. A step without `chain` uses the one called default.",
        "chains: {default: {targets: [local]}, writer: {targets: [local]}}\nsteps: {a: {prompt: {user: Hello}}}",
        "chains: {writer: {targets: [local]}}\nsteps: {a: {prompt: {user: Hello}, chain: writer}}",
    ),
    Code(
        "W122", "a prompt is not used",
        "No step uses the prompt. Perhaps a step names another one by mistake.",
        "prompts: {a: {user: Hello}, b: {user: Good day}}\nsteps: {greet: {prompt: a}}",
        "prompts: {a: {user: Hello}}\nsteps: {greet: {prompt: a}}",
    ),
    Code(
        "W123", "an input is not used",
        "No template and no expression uses the input, yet a caller must give it.",
        'inputs: {question: {type: string}, tone: {type: string}}\nsteps: {a: {prompt: {user: "{{ question }}"}}}',
        'inputs: {question: {type: string}}\nsteps: {a: {prompt: {user: "{{ question }}"}}}',
    ),
    Code(
        "W124", "a policy set is not used, or a setting in it",
        "No chain uses the set. The set called default applies where a chain names none; any other one needs "
        "`policies: {use: NAME}`. Or every chain that uses the set writes something else over one of its settings or "
        "its `stack`, or turns the policy off.",
        "policies: {careful: {retry: 5}}\nchains: {default: {targets: [local]}}",
        "policies: {careful: {retry: 5}}\nchains: {default: {targets: [local], policies: {use: careful}}}",
    ),
    Code(
        "W130", "a weight that does nothing",
        "A target has a `weight`, and the strategy of its chain does not draw: only weighted does. `priority` says who "
        "is tried first.",
        "chains: {default: {targets: [{provider: local, weight: 9}, mock/small]}}",
        "chains: {default: {strategy: weighted, targets: [{provider: local, weight: 9}, mock/small]}}",
    ),
    Code(
        "W131", "a price that is not known",
        "The chain tries the cheapest target first, and neither the file nor the price library knows what this one "
        "costs: it is tried after all others. Say what it costs under `models`.",
        "chains: {default: {strategy: cheapest, targets: [openai/gpt-4o-mini, vllm/our-model]}}\n"
        "providers: {vllm: {type: vllm}}",
        "chains: {default: {strategy: cheapest, targets: [openai/gpt-4o-mini, vllm/our-model]}}\n"
        "providers: {vllm: {type: vllm, models: {our-model: {prices: {input: $0.02, output: $0.05}}}}}",
    ),
    Code(
        "W133", "a hedge without a token limit",
        "Hedges come when targets are slow, and targets are slow when they have too much to do: without a limit the "
        "hedges make it worse. Give the targets a `rate_limit` or `concurrency`; a hedge takes its token like any "
        "other attempt, and waits where there is none.",
        "chains: {default: {strategy: {type: hedged, after: 3s}, targets: [openai/gpt-4o, groq/llama-3.3-70b]}}",
        "chains:\n  default:\n    strategy: {type: hedged, after: 3s}\n"
        "    targets: [openai/gpt-4o, groq/llama-3.3-70b]\n    policies: {concurrency: 8}",
    ),
    Code(
        "W134", "deltas of the output that are dropped",
        "`drop_oldest` keeps the newest deltas of a reader that is too slow and drops the others. On a progress "
        "display that is right; where the deltas are the output, the reader gets a text with holes in it.",
        "stream: {when_full: drop_oldest}\nsteps: {answer: {prompt: {user: Hello}}}",
        "stream: {when_full: error}\nsteps: {answer: {prompt: {user: Hello}}}",
    ),
    Code(
        "W135", "a setting of streams that has no effect",
        "What is said of a stream means something only where somebody sees the deltas while they come. A contract "
        "holds the answer until it was checked, `on_mid_stream_error: buffer` until it is complete, and a step whose "
        "text is not the output is seen by nobody. The message names the other setting.",
        "chains: {default: {targets: [local], on_mid_stream_error: restart}}\n"
        "steps: {answer: {prompt: {user: Hello}, output: {schema: {type: object}}}}",
        "chains: {default: {targets: [local], on_mid_stream_error: restart}}\nsteps: {answer: {prompt: {user: Hello}}}",
    ),
    Code(
        "W136", "nothing to choose from",
        "A strategy other than sequential, a rule of fallback, a lifetime of answers of fallback targets, a broken "
        "stream that goes on elsewhere and a budget that degrades need another target, and the chain has one that is "
        "enabled. `parallel` with an n of 1, or above the number of targets, is the same mistake, and so is "
        "`sticky` where one target has a weight and the others are spares. The message names both places.",
        "chains: {default: {targets: [local], strategy: cheapest}}",
        "chains: {default: {targets: [local, openai/gpt-4o], strategy: cheapest}}",
    ),
    Code(
        "W137", "settings of on_rate_limit that contradict each other",
        "Nothing is waited for beyond `max_retry_after`, so `wait_up_to` should not be longer; and where `fallback_on` "
        "says what a 429 does, it decides, and `then` has no effect. A target without quota is closed for "
        "`quota_block`: where that is longer than any wait, `retry_on: {quota_exhausted: true}` repeats nothing.",
        "chains:\n  default:\n    targets: [openai/gpt-4o, groq/llama-3.3-70b]\n"
        "    on_rate_limit: {then: fail}\n    fallback_on: {rate_limited: true}",
        "chains:\n  default:\n    targets: [openai/gpt-4o, groq/llama-3.3-70b]\n    on_rate_limit: {then: fail}",
    ),
    Code(
        "W138", "a time that never applies",
        "`timeout.total`, or the deadline where that is earlier, ends an attempt before the other time has passed: a "
        "wait for the first content or for a connection, a silence, or what the breaker calls slow; or a hedge, where "
        "each target has one attempt. Lower it, or raise the other.",
        "policies: {default: {timeout: {total: 20s}, circuit_breaker: {slow_after: 30s}}}",
        "policies: {default: {timeout: {total: 20s}, circuit_breaker: {slow_after: 10s}}}",
    ),
    Code(
        "W139", "a setting that has nothing to act on",
        "Repairs are asked for where an answer does not fit its schema; without one nothing is checked. An empty "
        "answer fits no schema, so allowing it leads to a violation. And a back-off is the delay before a repeat: for "
        "a kind that the error table does not repeat, and `retry_on` does not ask for, there is none. A strategy hears "
        "nothing of what is refused above it, nor of a contract where no step has a schema, nor that a target lacks "
        "what no step asks for; and a loss that no step can suffer need not be allowed: no tools, images or system "
        "messages are lost where none are sent, and a schema never is. The `concurrency` of a step is that of its "
        "loop.",
        "steps: {answer: {prompt: {user: Hello}, output: {repairs: 2}}}",
        "steps: {answer: {prompt: {user: Hello}, output: {repairs: 2, schema: {type: object}}}}",
    ),
    Code(
        "W140", "a breaker that can never open",
        "The limit lets fewer attempts through in the window of the breaker than it has to see before it opens. "
        "A dead target is then called as long as it is dead.",
        "policies: {default: {rate_limit: {rate: 5/minute, burst: 1},\n"
        "  circuit_breaker: {failure_threshold: off, failure_ratio: 50%, minimum_calls: 20}}}",
        "policies: {default: {rate_limit: {rate: 5/minute, burst: 1}, circuit_breaker: {failure_threshold: 3}}}",
    ),
    Code(
        "W141", "no max_tokens under a limit of LLM tokens",
        "Nobody knows before a call how long its answer will be, so that a limit of tokens has to reserve the longest "
        "that `max_tokens` allows. Without it that is the longest answer of the model, or `token_estimate`: calls wait "
        "that could go, or more is used than was reserved.",
        'policies: {default: {rate_limit: {windows: ["100000 tokens/minute"]}}}\nsteps: {a: {prompt: {user: Hello}}}',
        'policies: {default: {rate_limit: {windows: ["100000 tokens/minute"]}}}\n'
        "steps: {a: {prompt: {user: Hello}, params: {max_tokens: 500}}}",
    ),
    Code(
        "W142", "a limit that never applies",
        "Another limit, which the same calls meet, is as strict, or the deadline comes first, or windows replace the "
        "bucket: the setting is right by itself and has no effect. Both places are named. Under a provider `per` has "
        "none either: all its targets share the limit; nor has a `token_estimate` where each call has a `max_tokens`.",
        "policies: {default: {admission: {global: {rate: 5/s, burst: 5}, session: {rate: 10/s, burst: 10}}}}",
        "policies: {default: {admission: {global: {rate: 50/s, burst: 50}, session: {rate: 1/s, burst: 5}}}}",
    ),
    Code(
        "W143", "a call that is larger than a limit of LLM tokens",
        "A call reserves its prompt and its longest answer, and a window never holds more than its number: what is "
        "larger is refused at once, however empty the window is. That is so for every call where `max_tokens` alone is "
        "above it, or for one whose inputs are as long as `maxLength` allows. Both places are named.",
        'policies: {default: {rate_limit: {windows: ["1000 tokens/minute"]}}}\n'
        "steps: {a: {prompt: {user: Hello}, params: {max_tokens: 4000}}}",
        'policies: {default: {rate_limit: {windows: ["10000 tokens/minute"]}}}\n'
        "steps: {a: {prompt: {user: Hello}, params: {max_tokens: 4000}}}",
    ),
    Code(
        "W144", "a budget, and a target that may cost anything",
        "Before each attempt a budget reserves its worst case. Where the price of a target is not known, or nothing "
        "bounds its answer, there is none, and a budget that stops never lets it be asked. Where only the window "
        "does, all of it is reserved each time, and little fits at once. State prices, and set max_tokens.",
        "budgets: {day: $20}\nproviders: {vllm: {type: vllm}}\nchains: {default: {targets: [vllm/our-model]}}",
        "budgets: {day: $20}\n"
        "providers: {vllm: {type: vllm, models: {our-model: {max_output: 2000, prices: {input: $1, output: $2}}}}}\n"
        "chains: {default: {targets: [vllm/our-model]}}",
    ),
    Code(
        "W145", "a budget below one attempt",
        "The cheapest attempt of a step may cost more than a whole run, session, day or month is allowed to, so the "
        "step fails each time with kind budget, before anything is sent. Or each attempt on one target may, so that it "
        "is never asked; with `then: degrade` a cheaper one is asked instead, each time. Raise the budget, "
        "or lower max_tokens.",
        "budgets: {run: $0.001}\n"
        "steps: {answer: {prompt: {user: Hello}, params: {max_tokens: 4000}}}   # at $10 a million tokens: $0.04",
        "budgets: {run: $0.05}\nsteps: {answer: {prompt: {user: Hello}, params: {max_tokens: 4000}}}",
    ),
    Code(
        "W146", "a budget above that of a longer time",
        "A month that stops at less than what one of its days may cost leaves the limit of the day without effect, and "
        "so does a session, a day or a month below one of its runs. Perhaps they were exchanged.",
        "budgets: {day: $300, month: $20}",
        "budgets: {day: $20, month: $300}",
    ),
    Code(
        "W147", "a deadline that is longer than that of the run",
        "The deadline of the file is that of the whole run, 10 minutes if nothing is said. A call's own, written among "
        "the policies, can only be earlier: a longer one never applies, and where `min_attempt` is longer nothing is "
        "ever repeated.",
        "deadline: 30s\npolicies: {default: {deadline: 60s}}",
        "deadline: 90s\npolicies: {default: {deadline: 60s}}",
    ),
    Code(
        "W148", "a setting that another one leaves nothing to do",
        "With one attempt, or where `retry_on` leaves no kind to repeat, nothing is repeated, so attempts, rules, "
        "back-offs and a budget of repeats do nothing; and where "
        "no delay grows, since there are two attempts, say, or a jitter that draws each from the one before, a "
        "multiplier multiplies nothing; where every back-off is none, nothing shapes a delay. "
        "Branches that share one place are never under way at once. Where each target "
        "has a priority of its own no strategy has a choice, and where all inputs are trusted no untrusted one is "
        "looked at. A parameter is never sent where every target has one of its own, and where every step has a "
        "`block_when` that of the file judges nothing. The message names the other setting.",
        "policies: {default: {retry: {max_attempts: 1, retry_on: {auth: true}}}}",
        "policies: {default: {retry: {max_attempts: 2, retry_on: {auth: true}}}}",
    ),
    Code(
        "W150", "a cache where answers are meant to differ",
        "With a temperature above 0 the same question has many answers, and the cache gives one of them again and "
        "again until its time is over. Set the temperature to 0, or turn the cache off for that chain.",
        "policies: {default: {cache: 1h}}\nsteps: {answer: {prompt: {user: Hello}, params: {temperature: 0.8}}}",
        "policies: {default: {cache: 1h}}\nsteps: {answer: {prompt: {user: Hello}, params: {temperature: 0}}}",
    ),
    Code(
        "W151", "a setting of the cache that has no effect",
        "A time of the cache is hidden by another one: old answers need answers that were stored, a remembered error "
        "never lasts longer than an answer, and stale_if_error begins to count only after stale_while_revalidate.",
        "policies: {default: {cache: {ttl: 1h, stale_while_revalidate: 10m, stale_if_error: 5m}}}",
        "policies: {default: {cache: {ttl: 1h, stale_while_revalidate: 5m, stale_if_error: 1d}}}",
    ),
    Code(
        "W152", "a cache by session where there are no sessions",
        "The cache keeps the answers of each session apart, and the file says nothing of sessions: runs that are not "
        "given one share their answers.",
        "policies: {default: {cache: {ttl: 1h, scope: session}}}",
        "policies: {default: {cache: {ttl: 1h, scope: principal}}}",
    ),
    Code(
        "W154", "a setting of the breaker that never acts",
        "Slow attempts are those that a hedge overtook, and those whose first content came later than `slow_after`. "
        "Where there is neither, `slow_ratio` decides about nothing, and `minimum_calls` does not without a ratio. A "
        "`trip_on` that takes out connect, timeout, server, malformed_response and mid_stream leaves no failure to "
        "count. A `failure_ratio` opens nothing where `failure_threshold` failures come first, a threshold of 1 needs "
        "no `window`, and no more half-open calls are under way than `concurrency` lets through. Without a breaker "
        "there is nothing for `when_all_open: probe_first` to probe, and under a provider `per` decides nothing: all "
        "its targets share the breaker.",
        "policies: {default: {circuit_breaker: {slow_ratio: 50%}}}",
        "policies: {default: {circuit_breaker: {slow_ratio: 50%, slow_after: 20s}}}",
    ),
    Code(
        "W155", "a predicate that decides nothing",
        "`retry.when` is the same for every error and every attempt, or never true for what `retry_on` asks to repeat. "
        "It picks among what may be repeated; it does not add to it. Or it ends the repeats before `max_attempts`, "
        "which then is never reached, or refuses a kind that `backoff` shapes. A `block_when` that looks at neither "
        "`text` nor `json` refuses every answer, or none.",
        "policies: {default: {retry: {retry_on: {not_found: true}, when: error.kind == 'server'}}}",
        "policies: {default: {retry: {retry_on: {not_found: true}, when: error.kind != 'connect'}}}",
    ),
    Code(
        "W156", "a wait that is longer than the deadline",
        "A provider that asks to wait is waited for only if the wait fits the deadline. A limit above the deadline "
        "never acts, and a hedge that is due after it never begins.",
        "policies: {default: {deadline: 30s}}\nchains: {default: {targets: [local], on_rate_limit: {wait_up_to: 60s}}}",
        "policies: {default: {deadline: 90s}}\nchains: {default: {targets: [local], on_rate_limit: {wait_up_to: 60s}}}",
    ),
    Code(
        "W157", "a turn that never comes",
        "Every run makes more calls than a limit lets through before the deadline, so that none can come to its end. "
        "Or a call is to be repeated or repaired on a target whose limit has no second turn for it in time.",
        "deadline: 10m\npolicies: {default: {rate_limit: {rate: 2/day, burst: 1}, retry: {max_attempts: 3}}}",
        "deadline: 10m\npolicies: {default: {rate_limit: {rate: 2/minute, burst: 1}, retry: {max_attempts: 3}}}",
    ),
    Code(
        "W159", "attempts and delays that are longer than the deadline",
        "The attempts that `retry` sets, each with its wait for a first chunk where that is set too, and the delays "
        "between them take longer than the deadline of the call: the last ones, and the fallback targets, never begin.",
        "policies: {default: {deadline: 30s, retry: {max_attempts: 5, base: 10s}}}",
        "policies: {default: {deadline: 30s, retry: {max_attempts: 3, base: 1s}}}",
    ),
)  # fmt: skip

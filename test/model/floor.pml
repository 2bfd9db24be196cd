/*
 * floor.pml: the floors of the lanes, and which lanes a checkout comes by (extension/shared/lane.h).
 *
 * One lane, whose keys are the numbers of its jobs, and workers of two filters, A and B. What the C code does
 * under a lock, and what the server does at once, is one step here; everything else may interleave.
 */

/* ---- the rules; test/model/run breaks each in turn ---- */

#define NOTED_BEFORE_SNAPSHOT 1    /* a scan notes the generation before it takes its snapshot */
#define RAISED_AFTER_COMMIT 2      /* a floor rises when the transaction has committed, not when its scan ends */
#define BUSY_HOLDS_UP 3            /* no floor rises past a job that somebody has locked */
#define OTHERS_HOLD_UP 4           /* the lane's floor does not rise past a job for workers of another filter */
#define RAISED_FROM_BELOW 5        /* only a scan that began at or below a floor raises it */
#define LOWERED_HOLDS_UP 6         /* no floor rises past a key lowered since the scan noted the generation */
#define LOWERED_WHEN_VISIBLE 7     /* the floor is lowered after the job became visible, not before */
#define LOWERED_FROM_BELOW 8       /* a key above the floors is remembered as well */
#define VIEWS_LOWERED 9            /* a lowering concerns the views, too */
#define DRAWN_UNDER_LOCK 10        /* a lowering draws its generation under the lock that guards the lane */
#define NEW_ENTRY_HOLDS_UP 11      /* an entry holds up all scans that noted their generation before it was made */
#define THINNED_TO_LATER 12        /* of two lowerings remembered as one, the later generation is kept */
#define THINNED_TO_LOWER 13        /* and the lower key */
#define HOLD_HOLDS_UP 14           /* no floor rises past the key of a hold */
#define HOLD_LOWERS 15             /* a new hold lowers the floor to its key */
#define LIFTED_WITH_LOWERING 16    /* where a hold is lifted, the lane is lowered to its key */
#define SWEEP_LOOKS_TWICE 17       /* the sweep believes what two looks found, with a pause between them */
#define SWEEP_TELLS_VERSIONS 18    /* if both found the same version */
#define SWEEP_READS_FLOOR_FIRST 19 /* a look reads the floor before it takes its snapshot */
#define SWEEP_ENDS_VIEWS 20        /* a sweep begins by ending the views */
#define SWEEP_HOLDS_UP 21          /* and holds up all scans that noted their generation before */
#define SETTLED_WHEN_LOWERED 22    /* whoever lowers a floor then tells the order of the lanes */
#define SETTLED_TO_FLOOR 23        /* which is told where the floor is by then, not where it was */
#define EVICTED_WHEN_EMPTY 24      /* an entry is given up only when its floor is the highest */
#define MISSED_IS_NOTED 25         /* who cannot lower for want of an entry notes that one is missing */
#define SURVEY_MISSED_NOTHING 26   /* entries are complete after a survey only if none was missed since it began */
#define FULL_IS_INCOMPLETE 27      /* nor are they if a lane found by the survey got none */

#ifndef BROKEN
#define BROKEN 0
#endif
#define rule(number) (BROKEN != number)

/* ---- the bounds; test/model/run sets others ---- */

#ifndef MAKERS
#define MAKERS 1
#endif
#ifndef ROUNDS_A
#define ROUNDS_A 1
#endif
#ifndef ROUNDS_B
#define ROUNDS_B 1
#endif
#ifndef PREPARERS
#define PREPARERS 0
#endif
#ifndef EVICTIONS
#define EVICTIONS 0
#endif
#ifndef SWEEPS
#define SWEEPS 0
#endif
#ifndef REPLICAS
#define REPLICAS 0
#endif
#ifndef SURVEYS
#define SURVEYS 0
#endif

#ifndef JOBS
#define JOBS 3
#endif
#ifndef LOWERINGS
#define LOWERINGS 2 /* that an entry remembers */
#endif

#define LOWEST 0
#define HIGHEST JOBS

#define min(a, b) ((a) < (b) -> (a) : (b))
#define max(a, b) ((a) > (b) -> (a) : (b))

/* ---- the table of jobs ---- */

#define A 0
#define B 1

#define ABSENT 0
#define READY 1
#define RUNNING 2

typedef Job {
    byte state;     /* as committed */
    byte version;   /* grows with every change that is committed */
    byte locked;    /* by this transaction; 0: by none */
    byte callbacks; /* still to run, of transactions that made it ready */
    bool around     /* came around the callbacks, and no sweep has begun and ended since */
}
Job job[JOBS];

#define takes(filter, key) ((filter) == A || (key) > 0) /* B may not take the first job */

hidden byte i_; /* of loops, which must neither begin nor end a d_step */

#include "lane.pml"

/* ---- properties ---- */

bool lost;       /* a job that can be claimed, and its callback has run, lies below a floor */
bool false_find; /* the sweep found a job below the floor that came through the callbacks */
bool unfound;    /* all is over, and a checkout would not find a job that it may take */

/* To be said after whatever might make it untrue. */
inline nothing_is_lost()
{
    for (i_ : 0 .. JOBS - 1) {
        if
        :: entry && job[i_].state == READY && job[i_].callbacks == 0 && !job[i_].around ->
            lost = lost || floor > i_ || takes(A, i_) && view[A] > i_ || takes(B, i_) && view[B] > i_ || known > i_
        :: !entry && job[i_].state == READY && job[i_].callbacks == 0 && !job[i_].around && hold == HIGHEST ->
            lost = lost || complete
        :: else
        fi
    }
    assert(!lost)
}

/* ---- transactions that make jobs ready ---- */

inline make_ready(key)
{
    job[key].state = READY;
    job[key].version++;
    job[key].locked = 0;
    job[key].callbacks++
}

/* INSERT, retry, release, snooze, or an operator's UPDATE of a ready one. */
proctype maker()
{
    byte key, at;

    select(key : 0 .. JOBS - 1);
    if
    :: d_step { !entry -> make_entry() }
    :: true /* has one, or there is no room, or the database is not served yet */
    fi;
    if
    :: rule(LOWERED_WHEN_VISIBLE)
    :: else -> d_step { lower(key); settle() }
    fi;
    if
    :: d_step { job[key].locked == 0 && job[key].state != READY -> make_ready(key) }
    :: d_step { job[key].locked == 0 && job[key].state == READY -> job[key].locked = _pid }
        if
        :: d_step { make_ready(key) }
        :: job[key].locked = 0; goto ended /* rolled back */
        fi
    fi;
    if
    :: !rule(LOWERED_WHEN_VISIBLE)
    :: rule(LOWERED_WHEN_VISIBLE) && rule(DRAWN_UNDER_LOCK) -> d_step { lower(key) }
    :: else ->
        d_step { generation++; at = generation }
        d_step { lower_drawn(at, key) }
    fi;
    if
    :: rule(SETTLED_WHEN_LOWERED) -> d_step { settle() }
    :: else
    fi;
    d_step { job[key].callbacks--; nothing_is_lost() }
ended:
}

/* ---- checkouts ---- */

inline take_snapshot()
{
    for (i_ : 0 .. JOBS - 1) {
        seen[i_] = (job[i_].state == READY -> job[i_].version : 0)
    }
    i_ = 0
}

/* A worker. */
proctype worker(byte filter; byte rounds)
{
    byte noted, from, reached, others, busy;
    byte seen[JOBS]; /* versions in the snapshot; 0: not claimable */
    byte claimed;    /* set of keys */
    byte risen;      /* the floor when it was raised */

    do
    :: rounds > 0 ->
        rounds--;
        if
        :: rule(NOTED_BEFORE_SNAPSHOT) ->
            noted = generation;
            d_step { take_snapshot() }
        :: else ->
            d_step { take_snapshot() }
            noted = generation
        fi;
        /* comes by only if there may be something */
        if
        :: entry && known == HIGHEST || !entry && complete ->
            d_step {
                for (i_ : 0 .. JOBS - 1) {
                    seen[i_] = 0
                }
                noted = 0
            }
            goto next
        :: else
        fi;
        d_step {
            from = max(floor, view[filter]);
            reached = from;
            others = HIGHEST;
            busy = HIGHEST
        }

        /* on to the next job that it may take, and claims it; any number of claims may be enough */
        do
        :: reached < HIGHEST ->
            d_step {
                do
                :: reached == HIGHEST -> break
                :: reached < HIGHEST && seen[reached] == 0 -> reached++
                :: reached < HIGHEST && seen[reached] != 0 && takes(filter, reached) -> break
                :: reached < HIGHEST && seen[reached] != 0 && !takes(filter, reached) ->
                    others = (rule(OTHERS_HOLD_UP) -> min(others, reached) : others);
                    reached++
                od;
                if
                :: reached == HIGHEST
                :: reached < HIGHEST && job[reached].locked != 0 ->
                    busy = (rule(BUSY_HOLDS_UP) -> min(busy, reached) : busy);
                    reached++
                :: reached < HIGHEST && job[reached].locked == 0 ->
                    if
                    :: job[reached].version == seen[reached] ->
                        job[reached].locked = _pid;
                        claimed = claimed | 1 << reached
                    :: else /* changed since the snapshot */
                    fi;
                    reached++
                fi
            }
        :: claimed != 0 || reached == HIGHEST ->
            d_step {
                for (i_ : 0 .. JOBS - 1) {
                    seen[i_] = 0
                }
                if
                :: !entry -> make_entry()
                :: else
                fi;
                if
                :: !rule(RAISED_AFTER_COMMIT) ->
                    raise(filter, noted, from, reached, others, busy)
                :: else
                fi
            }
            break
        od;

        if
        :: d_step { /* visible */
                for (i_ : 0 .. JOBS - 1) {
                    if
                    :: claimed >> i_ & 1 ->
                        job[i_].state = RUNNING;
                        job[i_].around = false;
                        job[i_].version++;
                        job[i_].locked = 0
                    :: else
                    fi
                }
                claimed = 0
            }
            d_step {
                raise(filter, noted, from, reached, others, busy);
                risen = floor;
                nothing_is_lost()
            }
            d_step {
                if
                :: rule(SETTLED_TO_FLOOR) -> settle()
                :: else -> known = (entry -> risen : LOWEST)
                fi;
                risen = 0;
                nothing_is_lost()
            }
        :: d_step {
                claimed != 0; /* rolled back */
                for (i_ : 0 .. JOBS - 1) {
                    if
                    :: claimed >> i_ & 1 -> job[i_].locked = 0
                    :: else
                    fi
                }
                claimed = 0;
                nothing_is_lost()
            }
        fi;
        d_step { noted = 0; from = 0; reached = 0; others = 0; busy = 0 }
next:
        skip
    :: else -> break
    od
}

/* An INSERT, prepared. */
proctype preparer()
{
    byte key;

    atomic {
        select(key : 0 .. JOBS - 1);
        if
        :: job[key].locked == 0 && job[key].state == ABSENT -> job[key].locked = _pid
        :: else -> goto ended
        fi
    }
    d_step {
        hold = key;
        if
        :: rule(HOLD_LOWERS) -> lower(key); settle()
        :: else
        fi
    }
    if
    :: d_step { /* COMMIT PREPARED: no callback */
            job[key].state = READY;
            job[key].version++;
            job[key].locked = 0;
            nothing_is_lost()
        }
    :: job[key].locked = 0 /* ROLLBACK PREPARED */
    fi;
    d_step { /* the background worker sees that the transaction is gone */
        if
        :: rule(LIFTED_WITH_LOWERING) -> lower(key); settle()
        :: else
        fi;
        hold = HIGHEST;
        nothing_is_lost()
    }
ended:
}

/* The lane's entry, or a view's place in it, goes to another. */
proctype evictor()
{
    if
    :: d_step { entry && (floor == HIGHEST || !rule(EVICTED_WHEN_EMPTY)) -> evict(); nothing_is_lost() }
    :: d_step { view[B] > LOWEST -> view[B] = LOWEST }
    :: true
    fi
}

/* An INSERT with the settings of a replica. */
proctype replica()
{
    byte key;

    atomic {
        select(key : 0 .. JOBS - 1);
        if
        :: job[key].state == ABSENT && job[key].locked == 0 ->
            job[key].state = READY;
            job[key].version++;
            job[key].around = true
        :: else
        fi
    }
}

/* ---- the sweep ---- */

typedef Look {
    byte version[JOBS]; /* found below the floor; 0: none */
    byte normal         /* set of those that did not come around the callbacks */
}

inline look(found)
{
    if
    :: rule(SWEEP_READS_FLOOR_FIRST) -> upto = floor
    :: else
    fi;
    d_step {
        for (i_ : 0 .. JOBS - 1) {
            found.version[i_] = (job[i_].state == READY -> job[i_].version : 0);
            found.normal = found.normal | !job[i_].around << i_
        }
        i_ = 0
    }
    d_step {
        upto = (rule(SWEEP_READS_FLOOR_FIRST) -> upto : floor);
        for (i_ : 0 .. JOBS - 1) {
            found.version[i_] = (i_ < upto -> found.version[i_] : 0)
        }
        upto = 0
    }
}

/* One sweep by the background worker. */
proctype sweeper()
{
    Look first, second;
    byte upto;
    byte before; /* jobs that came around the callbacks before the sweep */
    byte key = HIGHEST;

    if
    :: entry
    :: else -> goto ended /* the survey finds what is there */
    fi;
    d_step {
        sweep_begins();
        for (i_ : 0 .. JOBS - 1) {
            before = before | job[i_].around << i_
        }
    }
    look(first);
    /* the pause: longer than it takes from the visible row to the callback */
    do
    :: key > 0 ->
        key--;
        first.version[key] == 0 || job[key].callbacks == 0 || job[key].version != first.version[key]
    :: else -> break
    od;
    look(second);
    d_step {
        key = HIGHEST;
        for (i_ : 0 .. JOBS - 1) {
            if
            :: first.version[i_] == 0 || key < HIGHEST
            :: second.version[i_] == first.version[i_] -> key = i_
            :: !rule(SWEEP_TELLS_VERSIONS) && second.version[i_] > 0 -> key = i_
            :: !rule(SWEEP_LOOKS_TWICE) -> key = i_
            :: else
            fi
        }
        if
        :: key < HIGHEST ->
            false_find = (rule(SWEEP_LOOKS_TWICE) -> second.normal : first.normal) >> key & 1;
            assert(!false_find);
            lower(key);
            settle()
        :: else
        fi;
        for (i_ : 0 .. JOBS - 1) {
            job[i_].around = job[i_].around && !(before >> i_ & 1)
        }
        nothing_is_lost()
    }
ended:
}

/* ---- the survey ---- */

/* Walks through the lanes that the table has, and gives an entry to each. */
proctype surveyor()
{
    byte noted;
    byte before; /* jobs that came around the callbacks before the survey */
    bool found;

    d_step {
        noted = missed;
        for (i_ : 0 .. JOBS - 1) {
            before = before | job[i_].around << i_;
            found = found || job[i_].state == READY
        }
        i_ = 0
    }
    if
    :: d_step { !entry && found -> make_entry() }
    :: d_step { !entry && found -> /* there is no room */
            if
            :: rule(FULL_IS_INCOMPLETE) -> miss()
            :: else
            fi
        }
    :: entry || !found -> before = 0
    fi;
    d_step {
        if
        :: missed != noted && rule(SURVEY_MISSED_NOTHING)
        :: else -> complete = true
        fi;
        for (i_ : 0 .. JOBS - 1) {
            job[i_].around = job[i_].around && !(before >> i_ & 1)
        }
        nothing_is_lost()
    }
}

#define start(count, process) n = count; do :: n > 0 -> n--; run process() :: else -> break od

init
{
    byte n;

    atomic {
        if
        :: true /* nothing has ever been here, and nobody has looked yet */
        :: complete = true /* somebody has */
        :: complete = true; make_entry(); floor = HIGHEST; known = HIGHEST /* what was here is done */
        :: make_entry(); view[B] = HIGHEST; job[0].state = READY; job[0].version = 1 /* but for what B may not take */
        fi;
        start(MAKERS, maker);
        start(PREPARERS, preparer);
        start(EVICTIONS, evictor);
        start(REPLICAS, replica);
        start(SWEEPS, sweeper);
        start(SURVEYS, surveyor);
        run worker(A, ROUNDS_A);
        run worker(B, ROUNDS_B)
    }

    timeout; /* all is over */
    d_step {
        for (i_ : 0 .. JOBS - 1) {
            if
            :: job[i_].state == READY && !job[i_].around ->
                unfound = unfound || max(floor, view[A]) > i_ || takes(B, i_) && max(floor, view[B]) > i_ ||
                    (entry -> known > i_ : complete)
            :: else
            fi
        }
        assert(!unfound)
    }
}

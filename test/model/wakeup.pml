/*
 * wakeup.pml: the sessions that wait for work (extension/waiter.h).
 *
 * Jobs of two kinds, each in a lane of its own, and sessions that take some of the kinds and have room for a few jobs.
 * Who has taken a job keeps it for ever. So all is over some time, and then nobody may sleep who could take a job.
 * What the C code does under a lock, and what the server does at once, is one step; everything else may interleave.
 */

/* ---- the rules; test/model/run breaks each in turn ---- */

#define NOTED_BEFORE_SNAPSHOT 1   /* a checkout notes the number of events before it takes its snapshot */
#define LOOKS_AGAIN 2             /* it looks again if there were events since */
#define WAITS_BEFORE_COMPARING 3  /* it waits already when it finds that out */
#define COUNTED_WHEN_VISIBLE 4    /* an event is counted after its jobs became visible */
#define COUNTED_BEFORE_WAKING 5   /* and before sessions are chosen */
#define ONE_PER_JOB 6             /* an event wakes no more sessions than there are jobs */
#define ROLLED_BACK_IS_SILENT 7   /* an insert that is rolled back wakes nobody */
#define CLAIMS_WAKE 8             /* claims that are rolled back are an event */
#define PASSED_ON_FOR_OTHERS 9    /* a woken session that saw jobs for others passes the call on */
#define PASSED_ON_WHEN_FULL 10    /* so does one without room for all that is ready in the lane of the event */
#define PASSED_ON_WHEN_LEAVING 11 /* and one that was woken after its room was filled */
#define PASSED_ON_AT_END 12       /* and one that ends */
#define PASSED_ON_WHEN_OVERDUE 13 /* for one that does not come, the background worker does it */
#define PASSED_TO_OLDER 14        /* the call goes to a session that waits since before the event */
#define WOKEN_UNTIL_LOOKED 15     /* the duty to pass it on ends with the look, not when that begins */
#define WAITS_WITH_ROOM 16        /* a session waits as long as it has room */
#define UNSERVED_NOTIFY 17        /* where no background worker serves the database, enqueuers notify all */
#define NOTICE_UNTIL_SENT 18      /* a notice is due until its NOTIFY has been committed */
#define NOTICE_OF_A_CALL 19       /* and if the session has been woken anew meanwhile, for longer */
#define ASKED_BEFORE_WORK 20      /* the background worker forgets that it was asked for before it looks for work */
#define FAILED_IS_STARTED 21      /* one that failed is started again, asked for or not */
#define ENDED_LOOKS_BACK 22       /* one that ended asks for another if somebody began to wait meanwhile */

#ifndef BROKEN
#define BROKEN 0
#endif
#define rule(number) (BROKEN != number)

/* ---- the bounds; test/model/run sets others ---- */

#ifndef SESSIONS
#define SESSIONS 3
#endif
#ifndef ROOM
#define ROOM 1 /* of each session, for jobs */
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 0 /* of claims */
#endif
#ifndef DEATHS
#define DEATHS 0 /* of sessions, or of what they should do */
#endif
#ifndef ASLEEP
#define ASLEEP 0
#endif
#ifndef NOTIFY
#define NOTIFY 0 /* wakes the sessions; else their latches */
#endif
#ifndef BACKGROUND
#define BACKGROUND NOTIFY /* a background worker */
#endif
#ifndef FAILURES
#define FAILURES 0 /* of the background worker */
#endif

#define JOBS 2

/* Session 0 takes both kinds, session 1 the first, session 2 the second. */
#define takes(session, job) (session == 0 || session == 1 + (job))

/* ---- the table of jobs ---- */

#define ABSENT 0
#define READY 1
#define RUNNING 2

typedef Job {
    byte state;  /* as committed */
    byte claimed /* but not committed, by this session + 1; 0: by none */
}
Job job[JOBS];

/* ---- shared memory ---- */

#define BUSY 0
#define WAITING 1
#define WOKEN 2

typedef Session {
    byte state;
    byte since;     /* which call it waits */
    byte call;      /* that woke it last */
    byte lane;      /* of the event that did */
    bool passed_on; /* the call */
    bool notice;    /* a NOTIFY is to be sent */

    /* what its client sees */
    bool told;  /* the latch is set, a notification has arrived */
    bool sleeps /* until then */
}
Session session[SESSIONS];

byte events;
byte made; /* calls, which are numbered; C numbers the waits as well, by the same sequence */

bool served; /* the database, by a background worker */
bool runs;   /* there is one now */
bool wanted; /* it has been asked for */

/* ---- properties ---- */

bool slept_through; /* all is over, and a job is ready for a session that sleeps */
bool unattended;    /* all is over, and sessions wait, but no background worker is there or has been asked for */
bool woken_twice;   /* by the same call */
bool woken_for_none;

byte rollbacks = ROLLBACKS;
byte deaths = DEATHS;
byte failures = FAILURES;

hidden byte i_, j_;

/* ---- waiter.c ---- */

byte calls; /* that may still be made under the lock */

inline stop_waiting(me)
{
    session[me].state = BUSY;
    session[me].since = 0;
    session[me].lane = 0;
    session[me].passed_on = false;
    session[me].notice = false
}

inline wait(me)
{
    session[me].state = WAITING;
    session[me].since = made
}

inline wake(me, number, event)
{
    woken_twice = woken_twice || session[me].call == number;
    woken_for_none = calls == 0;
    assert(!woken_twice);
    assert(!woken_for_none);
    calls--;
    session[me].state = WOKEN;
    session[me].since = 0;
    session[me].call = number;
    session[me].lane = event;
    session[me].passed_on = false;
    session[me].notice = NOTIFY;
    session[me].told = session[me].told || !NOTIFY;
    wanted = wanted || NOTIFY
}

#define waits_since(me, number) (session[me].state == WAITING && (session[me].since < number || !rule(PASSED_TO_OLDER)))

/* One of them, it does not matter which. */
inline wake_one(number, event)
{
    if
    :: waits_since(0, number) -> wake(0, number, event)
#if SESSIONS > 1
    :: waits_since(1, number) -> wake(1, number, event)
#endif
#if SESSIONS > 2
    :: waits_since(2, number) -> wake(2, number, event)
#endif
    :: else
    fi;
    calls = 0
}

inline pass_on(me)
{
    if
    :: session[me].state == WOKEN && !session[me].passed_on ->
        session[me].passed_on = true;
        calls = 1;
        wake_one(session[me].call, session[me].lane)
    :: else
    fi
}

/* So many jobs of the lane, one or none, are visible now. */
inline tell(event, jobs)
{
    if
    :: rule(COUNTED_BEFORE_WAKING) -> events++
    :: else
    fi;
    atomic {
        made++;
        calls = jobs;
        wake_one(made, event);
        if
        :: !rule(ONE_PER_JOB) -> wake_one(made, event)
        :: else
        fi
    }
    if
    :: rule(COUNTED_BEFORE_WAKING)
    :: else -> events++
    fi
}

/* ---- who uses it ---- */

/* A transaction that inserts a job. */
proctype enqueuer(byte new)
{
    bool notifies;

    notifies = NOTIFY && rule(UNSERVED_NOTIFY) && (!served || !runs && !nobody_waits);
    if
    :: !rule(COUNTED_WHEN_VISIBLE) -> tell(new, 1)
    :: else
    fi;
    if
    :: job[new].state = READY;
        if
        :: rule(COUNTED_WHEN_VISIBLE) -> tell(new, 1)
        :: else
        fi;
        if
        :: notifies -> d_step {
                for (i_ : 0 .. SESSIONS - 1) {
                    session[i_].told = true
                }
                i_ = 0
            }
        :: else
        fi
    :: !rule(ROLLED_BACK_IS_SILENT) -> tell(new, 0)
    :: true /* rolled back */
    fi
}

inline take_snapshot()
{
    d_step {
        seen = 0;
        for (i_ : 0 .. JOBS - 1) {
            seen = seen | (job[i_].state == READY) << i_
        }
        next = 0
    }
}

inline look(me)
{
    do
    :: next < JOBS && found < room ->
        d_step {
            if
            :: !(seen >> next & 1)
            :: (seen >> next & 1) && !takes(me, next) -> saw_others = true
            :: (seen >> next & 1) && takes(me, next) ->
                if
                :: job[next].state == READY && job[next].claimed == 0 ->
                    job[next].claimed = me + 1;
                    found++
                :: else
                fi
            fi;
            next++
        }
    :: else -> break
    od
}

/* A session of a worker, which checks out, and waits for more while it has room. */
proctype worker(byte me)
{
    byte room = ROOM;
    byte noted, seen, next, found;
    bool saw_others, needed, again;
    bool duty; /* what a broken rule makes of the state WOKEN */

    if
    :: ASLEEP >> me & 1 -> goto sleeps
    :: else
    fi;

checkout:
    atomic {
        session[me].told = false;
        session[me].sleeps = false;
        if
        :: session[me].state == WOKEN ->
            session[me].notice = false;
            if
            :: rule(WOKEN_UNTIL_LOOKED)
            :: else -> session[me].state = BUSY; duty = true
            fi
        :: else -> stop_waiting(me)
        fi
    }
    if
    :: rule(NOTED_BEFORE_SNAPSHOT) -> noted = events; take_snapshot()
    :: else -> take_snapshot(); noted = events
    fi;
    look(me);
    if
    :: deaths > 0 -> deaths--; goto dies
    :: deaths > 0 -> deaths--; goto stays_away
    :: true
    fi;

    /* the look is over */
    needed = saw_others && rule(PASSED_ON_FOR_OTHERS) ||
        found == room && rule(PASSED_ON_WHEN_FULL) &&
        job[session[me].lane].state == READY && job[session[me].lane].claimed != me + 1;
    atomic {
        if
        :: duty -> session[me].state = WOKEN; duty = false
        :: else
        fi;
        if
        :: needed -> pass_on(me)
        :: else
        fi;
        stop_waiting(me);
        needed = false;
        saw_others = false;
        seen = 0
    }

    if
    :: found == room
    :: found < room && rule(WAITS_BEFORE_COMPARING) ->
        d_step { wait(me) }
        again = events != noted
    :: found < room && !rule(WAITS_BEFORE_COMPARING) ->
        again = events != noted;
        d_step { wait(me) }
    fi;
    wanted = wanted || NOTIFY && !runs && found < room;
    if
    :: again && found == 0 && rule(LOOKS_AGAIN) ->
        take_snapshot();
        look(me);
        if
        :: found == room || found > 0 && !rule(WAITS_WITH_ROOM) ->
            atomic {
                if
                :: rule(PASSED_ON_WHEN_LEAVING) -> pass_on(me)
                :: else
                fi;
                stop_waiting(me)
            }
        :: else
        fi
    :: again && found > 0 && rule(LOOKS_AGAIN) ->
        /* looks again, but in another transaction */
        atomic {
            if
            :: session[me].state == WAITING ->
                made++;
                calls = 1;
                wake(me, made, 0);
                session[me].passed_on = true
            :: else
            fi
        }
    :: else
    fi;
    d_step { noted = 0; again = false; saw_others = false; seen = 0; next = 0 }

    if
    :: found == 0
    :: found > 0 ->
        d_step {
            for (i_ : 0 .. JOBS - 1) {
                if
                :: job[i_].claimed == me + 1 -> job[i_].state = RUNNING; job[i_].claimed = 0
                :: else
                fi
            }
            room = room - found;
            found = 0
        }
    :: found > 0 && rollbacks > 0 -> rollbacks--; goto stays_away
    fi;
    if
    :: room == 0 -> goto gone
    :: else
    fi;
sleeps:
    session[me].sleeps = true;
end_asleep:
    if
    :: session[me].told -> goto checkout
    :: deaths > 0 -> deaths--; goto dies
    :: session[me].told && deaths > 0 -> deaths--; goto stays_away
    fi;

dies:
    atomic {
        if
        :: rule(PASSED_ON_AT_END) -> pass_on(me)
        :: else
        fi;
        stop_waiting(me)
    }

    /* and what it has claimed is rolled back */
stays_away:
    session[me].sleeps = false;
    next = 0;
    do
    :: next < JOBS ->
        if
        :: job[next].claimed == me + 1 ->
            job[next].claimed = 0;
            if
            :: rule(CLAIMS_WAKE) -> tell(next, 1)
            :: else
            fi
        :: else
        fi;
        next++
    :: else -> break
    od;
gone:
}

/* The background worker's timer for sessions that do not come. */
proctype timer()
{
end_on:
    do
    :: atomic { session[0].state == WOKEN && !session[0].passed_on -> pass_on(0) }
#if SESSIONS > 1
    :: atomic { session[1].state == WOKEN && !session[1].passed_on -> pass_on(1) }
#endif
#if SESSIONS > 2
    :: atomic { session[2].state == WOKEN && !session[2].passed_on -> pass_on(2) }
#endif
    od
}

#if SESSIONS > 1
#define nobody_waits (session[0].state == BUSY && session[1].state == BUSY)
#else
#define nobody_waits (session[0].state == BUSY)
#endif

/* Workers of the database, one after the other, as the launcher starts them. */
proctype background()
{
    byte notices[SESSIONS]; /* the calls to be sent; 0: none */

end_off:
    wanted;
starts:
    atomic { runs = true; wanted = false }
    served = true;
    do
    :: true ->
        if
        :: rule(ASKED_BEFORE_WORK) -> wanted = false
        :: else
        fi;
        d_step {
            i_ = 0;
            for (i_ : 0 .. SESSIONS - 1) {
                notices[i_] = (session[i_].notice -> session[i_].call : 0);
                session[i_].notice = session[i_].notice && rule(NOTICE_UNTIL_SENT)
            }
            i_ = 0
        }
        if
        :: failures > 0 -> goto fails
        :: d_step {
                for (i_ : 0 .. SESSIONS - 1) {
                    session[i_].told = session[i_].told || notices[i_] > 0
                }
                i_ = 0
            }
        fi;
        d_step {
            i_ = 0;
            for (i_ : 0 .. SESSIONS - 1) {
                if
                :: notices[i_] > 0 && (session[i_].call == notices[i_] || !rule(NOTICE_OF_A_CALL)) ->
                    session[i_].notice = false
                :: else
                fi;
                notices[i_] = 0
            }
            i_ = 0
        }
        if
        :: rule(ASKED_BEFORE_WORK)
        :: else -> wanted = false
        fi;
end_on:
        if
        :: wanted
        :: nobody_waits ->
            if
            :: atomic { !wanted -> runs = false }
                if
                :: rule(ENDED_LOOKS_BACK) -> wanted = wanted || !nobody_waits
                :: else
                fi;
                goto end_off
            :: wanted
            fi
        fi
    od;

fails:
    failures--;
    runs = false;
    /* the launcher takes notice */
    d_step { served = false; wanted = false }
    if
    :: rule(FAILED_IS_STARTED) -> goto starts
    :: else -> goto end_off
    fi
}

init
{
    byte n;

    atomic {
        wanted = NOTIFY;
        n = SESSIONS;
        do
        :: n > 0 ->
            n--;
            if
            :: ASLEEP >> n & 1 -> wait(n)
            :: else
            fi;
            run worker(n)
        :: else -> break
        od;
        n = JOBS;
        do
        :: n > 0 -> n--; run enqueuer(n)
        :: else -> break
        od;
        if
        :: DEATHS > 0 && rule(PASSED_ON_WHEN_OVERDUE) -> run timer()
        :: else
        fi;
        if
        :: BACKGROUND -> run background()
        :: else
        fi
    }
    timeout;
    d_step {
        for (i_ : 0 .. SESSIONS - 1) {
            unattended = unattended || NOTIFY && session[i_].state == WAITING && !runs && !wanted;
            for (j_ : 0 .. JOBS - 1) {
                slept_through = slept_through ||
                    session[i_].sleeps && job[j_].state == READY && takes(i_, j_)
            }
        }
        assert(!unattended);
        assert(!slept_through)
    }
}

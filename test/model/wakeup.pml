/*
 * wakeup.pml: the sessions that wait for work (extension/shared/waiter.h).
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
#define PASSED_ON_IF_LEFT 9       /* a session whose room is full passes on what is left of what it was called for */
#define PASSED_ON_WHEN_LEAVING 10 /* and what it has been called for while it looked */
#define PASSED_ON_AT_END 11       /* and one that ends */
#define PASSED_ON_WHEN_OVERDUE 12 /* for one that does not come, the background worker does it */
#define PASSED_TO_OLDER 13        /* the call goes to a session that waits since before the event */
#define OWED_UNTIL_LOOKED 14      /* the duty to pass it on ends with the look, not when that begins */
#define WAITS_WITH_ROOM 15        /* a session waits as long as it has room */
#define UNSERVED_NOTIFY 16        /* where no background worker serves the database, enqueuers notify all */
#define NOTICE_UNTIL_SENT 17      /* a notice is due until its NOTIFY has been committed */
#define NOTICE_OF_A_CALL 18       /* and if the session has been woken anew meanwhile, for longer */
#define ASKED_BEFORE_WORK 19      /* the background worker forgets that it was asked for before it looks for work */
#define FAILED_IS_STARTED 20      /* one that failed is started again, asked for or not */
#define ENDED_LOOKS_BACK 21       /* one that ended asks for another if somebody began to wait meanwhile */
#define COUNTED_ON_IF_WOKEN 22    /* a job may be left to a session that has been woken, or looks because it was */
#define LATE_IS_OWED 23           /* what it is called for during a look is not done with that look */
#define VAGUE_MATCHES 24          /* a session of which it is not known what it takes is woken for everything */
#define VAGUE_PASSES_ON 25        /* and passes on what it may not take */
#define UNKNOWN_PASSED_ON 26      /* so does one that was woken for jobs of kinds that are not known */

#ifndef BROKEN
#define BROKEN 0
#endif
#define rule(number) (BROKEN != number)

/* ---- the bounds; test/model/run sets others ---- */

#ifndef SESSIONS
#define SESSIONS 2
#endif
#ifndef ASLEEP
#define ASLEEP 0 /* set of the sessions that wait when it begins; the others are about to look */
#endif
#ifndef ROOM
#define ROOM 1 /* of each session, for jobs */
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 0 /* of claims */
#endif
#ifndef DEATHS
#define DEATHS 0 /* of sessions; or they do not come when woken */
#endif
#ifndef NOTIFY
#define NOTIFY 0 /* wakes the sessions; else their latches do */
#endif
#ifndef BACKGROUND
#define BACKGROUND NOTIFY /* a background worker */
#endif
#ifndef FAILURES
#define FAILURES 0 /* of the background worker */
#endif

#ifndef VAGUE
#define VAGUE 0 /* set of the sessions of which is not known what they take */
#endif
#ifndef UNKNOWN_KINDS
#define UNKNOWN_KINDS 0 /* it is not known which kinds are inserted */
#endif

#define JOBS 2
#define UNKNOWN 2 /* a kind */
#define KINDS 3   /* with that */

/* Session 0 takes both kinds, session 1 the first, session 2 the second. */
#define takes(me, kind) ((me) == 0 || (me) == 1 + (kind))
#define vague(me) (VAGUE >> (me) & 1)

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

bool served; /* the database, by a background worker */
bool runs;   /* there is one now */
bool wanted; /* it has been asked for */

hidden byte i_, j_; /* of loops, which must neither begin nor end a d_step */

#include "waiter.pml"

/* Where there is a background worker, there are at most two sessions. */
#define somebody_waits (waits(0) || waits(SESSIONS - 1))
#define nobody_needs_it (session[0].state == BUSY && session[SESSIONS - 1].state == BUSY)

byte rollbacks = ROLLBACKS;
byte deaths = DEATHS;
byte failures = FAILURES;

/* ---- properties, of the time when all is over ---- */

bool slept_through; /* a job is ready for a session that sleeps */
bool unattended;    /* sessions wait, and no background worker is there or has been asked for */

/* ---- inserts ---- */

proctype enqueuer(byte new)
{
    bool notifies;
    byte kind;

    kind = (UNKNOWN_KINDS -> UNKNOWN : new);
    notifies = NOTIFY && rule(UNSERVED_NOTIFY) && (!served || !runs && somebody_waits);
    if
    :: rule(COUNTED_WHEN_VISIBLE)
    :: else -> wake_for(kind, 1)
    fi;
    if
    :: job[new].state = READY;
        if
        :: rule(COUNTED_WHEN_VISIBLE) -> wake_for(kind, 1)
        :: else
        fi;
        if
        :: notifies ->
            d_step {
                for (i_ : 0 .. SESSIONS - 1) {
                    session[i_].told = true
                }
                i_ = 0
            }
        :: else
        fi
    :: true -> /* rolled back */
        if
        :: rule(ROLLED_BACK_IS_SILENT)
        :: else -> wake_for(kind, 0)
        fi
    fi
}

/* ---- checkouts ---- */

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
            :: (seen >> next & 1) && !takes(me, next)
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

/* A session of a worker. */
proctype worker(byte me)
{
    byte room = ROOM;
    byte noted, seen, next, found;
    byte duty[KINDS]; /* what it may have to pass on: numbers of calls */
    bool again, second;

    if
    :: ASLEEP >> me & 1 -> goto sleeps
    :: else
    fi;

checkout:
    atomic {
        session[me].told = false;
        session[me].sleeps = false;
        enter(me)
    }
looking:
    if
    :: rule(NOTED_BEFORE_SNAPSHOT) -> noted = events; take_snapshot()
    :: else -> take_snapshot(); noted = events
    fi;
    if
    :: rule(OWED_UNTIL_LOOKED) || second
    :: else -> d_step { duty[0] = session[me].call[0]; duty[1] = session[me].call[1]; owe_nothing(me) }
    fi;
    if
    :: look(me)
    :: deaths > 0 -> deaths--; goto fails
    fi;
    if
    :: true
    :: deaths > 0 -> deaths--; goto ends
    :: deaths > 0 -> deaths--; goto fails
    fi;
    if
    :: rule(OWED_UNTIL_LOOKED) || second
    :: else -> d_step { session[me].call[0] = duty[0]; session[me].call[1] = duty[1] }
    fi;

    /* its duties */
    d_step {
        looked_for(me, 0, found == room);
        looked_for(me, 1, found == room);
        looked_for(me, UNKNOWN, found == room)
    }
    if
    :: duty[0] > 0 || duty[1] > 0 || duty[UNKNOWN] > 0 ->
        d_step { /* another snapshot; what it has claimed itself is not ready any more */
            seen = 0;
            for (i_ : 0 .. JOBS - 1) {
                seen = seen | (job[i_].state == READY && job[i_].claimed != me + 1) << i_
            }
            i_ = 0
        }
        atomic {
            pass_on_left(me, 0, seen);
            pass_on_left(me, 1, seen);
            pass_on_left(me, UNKNOWN, seen)
        }
    :: else
    fi;

    /* waits for more */
    if
    :: found == room || second && found > 0 && !rule(WAITS_WITH_ROOM) -> atomic { leave(me) }
    :: else -> session[me].looks = 0
    fi;
    if
    :: found == room || second
    :: else ->
        if
        :: rule(WAITS_BEFORE_COMPARING) -> d_step { wait(me, room - found) } again = events != noted || owes(me)
        :: else -> again = events != noted || owes(me); d_step { wait(me, room - found) }
        fi;
        wanted = wanted || NOTIFY && !runs;
        if
        :: again && rule(LOOKS_AGAIN) && found == 0 ->
            d_step { again = false; second = true; session[me].looks = calls } goto looking
        :: again && rule(LOOKS_AGAIN) && found > 0 -> atomic { wake_myself(me) }
        :: else
        fi
    fi;
    second = false;
    d_step { noted = 0; again = false; seen = 0; next = 0 }

    if
    :: found == 0
    :: found > 0 -> /* committed */
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
    :: found > 0 && rollbacks > 0 -> rollbacks--; goto fails
    :: deaths > 0 -> deaths--; goto ends
    fi;
    if
    :: room == 0 -> goto gone
    :: room > 0
    fi;

sleeps:
    session[me].sleeps = true;
end_asleep:
    if
    :: session[me].told -> goto checkout
    :: session[me].told && deaths > 0 -> deaths--; goto fails
    :: deaths > 0 -> deaths--; goto ends
    fi;

ends:
    atomic { session_ends(me) }

    /* what it has claimed is rolled back, and nothing more is heard of it */
fails:
    session[me].sleeps = false;
    next = 0;
    do
    :: next < JOBS ->
        if
        :: job[next].claimed == me + 1 ->
            job[next].claimed = 0;
            if
            :: rule(CLAIMS_WAKE) -> wake_for(UNKNOWN, 1)
            :: else
            fi
        :: else
        fi;
        next++
    :: else -> break
    od;
gone:
}

/* ---- the background worker ---- */

/* Its watch over sessions that do not come when woken. They may still come. */
proctype watch()
{
end:
    do
    :: atomic { owes(0) -> pass_on(0) }
#if SESSIONS > 1
    :: atomic { owes(1) -> pass_on(1) }
#endif
#if SESSIONS > 2
    :: atomic { owes(2) -> pass_on(2) }
#endif
    od
}

/* All else that it does for those who wait: one after the other, as the launcher starts them. */
proctype background()
{
    byte notices[SESSIONS]; /* calls to be sent; 0: none */

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
        d_step { /* reads them */
            i_ = 0;
            for (i_ : 0 .. SESSIONS - 1) {
                notices[i_] = (session[i_].notice -> session[i_].woken : 0);
                session[i_].notice = session[i_].notice && rule(NOTICE_UNTIL_SENT)
            }
            i_ = 0
        }
        if
        :: d_step { /* commits the NOTIFYs */
                for (i_ : 0 .. SESSIONS - 1) {
                    session[i_].told = session[i_].told || notices[i_] > 0
                }
                i_ = 0
            }
        :: failures > 0 -> goto fails
        fi;
        d_step { /* marks them as sent */
            i_ = 0;
            for (i_ : 0 .. SESSIONS - 1) {
                if
                :: notices[i_] > 0 && (session[i_].woken == notices[i_] || !rule(NOTICE_OF_A_CALL)) ->
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
        :: nobody_needs_it ->
            if
            :: wanted
            :: atomic { !wanted -> runs = false }
                if
                :: rule(ENDED_LOOKS_BACK) -> wanted = wanted || !nobody_needs_it
                :: else
                fi;
                goto end_off
            fi
        fi
    od;

fails:
    failures--;
    runs = false;
    d_step { served = false; wanted = false } /* the launcher takes notice */
    if
    :: rule(FAILED_IS_STARTED) -> goto starts
    :: else -> goto end_off
    fi
}

#define start(count, process) n = count; do :: n > 0 -> n--; run process(n) :: else -> break od

init
{
    byte n;

    atomic {
        wanted = NOTIFY; /* a server that has just started */
        for (n : 0 .. SESSIONS - 1) {
            if
            :: ASLEEP >> n & 1 -> wait(n, ROOM)
            :: else
            fi
        }
        start(SESSIONS, worker);
        start(JOBS, enqueuer);
        if
        :: DEATHS > 0 && rule(PASSED_ON_WHEN_OVERDUE) -> run watch()
        :: else
        fi;
        if
        :: BACKGROUND -> run background()
        :: else
        fi
    }

    timeout; /* all is over */
    d_step {
        for (i_ : 0 .. SESSIONS - 1) {
            unattended = unattended || NOTIFY && session[i_].state != BUSY && !runs && !wanted;
            for (j_ : 0 .. JOBS - 1) {
                slept_through = slept_through || session[i_].sleeps && job[j_].state == READY && takes(i_, j_)
            }
        }
        assert(!unattended);
        assert(!slept_through)
    }
}

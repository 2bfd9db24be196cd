/*
 * waiter.pml: what extension/shared/waiter.c does. A part of wakeup.pml.
 */

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
    bool told;  /* the latch is set, or a notification has arrived */
    bool sleeps /* until then */
}
Session session[SESSIONS];

byte events;
byte calls; /* made so far; their numbers. In C waits have numbers, too, of the same sequence */

byte callable; /* sessions that may still be woken for the event */

/* ---- properties ---- */

bool woken_twice;    /* by the same call */
bool woken_too_many; /* for the jobs that there are */

/* ---- under the lock ---- */

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
    session[me].since = calls
}

inline wake(me, number, event)
{
    woken_twice = woken_twice || session[me].call == number;
    assert(!woken_twice);
    woken_too_many = callable == 0;
    assert(!woken_too_many);
    callable--;

    session[me].state = WOKEN;
    session[me].since = 0;
    session[me].call = number;
    session[me].lane = event;
    session[me].passed_on = false;
    session[me].notice = NOTIFY;
    session[me].told = session[me].told || !NOTIFY;
    wanted = wanted || NOTIFY
}

#define waits(me) (session[me].state == WAITING)
#define waits_since(me, number) (waits(me) && (session[me].since < number || !rule(PASSED_TO_OLDER)))

/* Nothing depends on which of them it is. */
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
    callable = 0
}

#define owes(me) (session[me].state == WOKEN && !session[me].passed_on)

inline pass_on(me)
{
    if
    :: owes(me) ->
        session[me].passed_on = true;
        callable = 1;
        wake_one(session[me].call, session[me].lane)
    :: else
    fi
}

/* ---- for the others ---- */

/* So many jobs of the lane, one or none, may be claimed now. */
inline wake_for(event, jobs)
{
    if
    :: rule(COUNTED_BEFORE_WAKING) -> events++
    :: else
    fi;
    atomic {
        calls++;
        callable = jobs;
        wake_one(calls, event);
        if
        :: !rule(ONE_PER_JOB) -> wake_one(calls, event)
        :: else
        fi
    }
    if
    :: rule(COUNTED_BEFORE_WAKING)
    :: else -> events++
    fi
}

/* The session looks now, and does not wait. Woken it stays: an error must not lose the call. */
inline enter(me)
{
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

/* The look is over. */
inline looked(me, others_needed)
{
    if
    :: duty -> session[me].state = WOKEN; duty = false
    :: else
    fi;
    if
    :: others_needed -> pass_on(me)
    :: else
    fi;
    stop_waiting(me)
}

/* The session found something after all, while it waited. */
inline leave(me)
{
    if
    :: rule(PASSED_ON_WHEN_LEAVING) -> pass_on(me)
    :: else
    fi;
    stop_waiting(me)
}

/* The session must look again, but has found something already. */
inline wake_myself(me)
{
    if
    :: waits(me) ->
        calls++;
        callable = 1;
        wake(me, calls, 0);
        session[me].passed_on = true
    :: else
    fi
}

inline session_ends(me)
{
    if
    :: rule(PASSED_ON_AT_END) -> pass_on(me)
    :: else
    fi;
    stop_waiting(me)
}

/* What the environment must not decide: which code runs. The libraries that this program is linked with, and theirs,
 * load plugins, tools and converters from where a variable points; some look before main begins. So the variables go
 * from the environment before any library is started: the loader calls `.preinit_array` first. What the loader itself
 * obeys (LD_PRELOAD, LD_LIBRARY_PATH) has happened by then and is the system's to allow. */
#include <stddef.h>
#include <string.h>

/* A name that ends in * stands for all that begin so. */
static const char *const refused[] = {
    "ACC_PROFLIB",                 /* libgomp loads it before main */
    "OMP_TOOL_LIBRARIES",          /* LLVM's OpenMP */
    "HDF5_PLUGIN_PATH",            /* HDF5: filters, */
    "HDF5_VOL_CONNECTOR",          /* connectors, */
    "HDF5_DRIVER",                 /* and file drivers, */
    "HDF5_DRIVER_CONFIG",          /* their settings, */
    "HDF5_EXTFILE_PREFIX",         /* and where files within files lie */
    "HDF5_VDS_PREFIX",             /* the same */
    "INTEL_LIBITTNOTIFY*",         /* oneDNN: VTune's collectors */
    "INTEL_JIT_PROFILER*",         /* the same */
    "VS_PROFILER",                 /* the same */
    "OCL_ICD_*",                   /* OpenCL, which oneDNN brings along: drivers */
    "OPENCL_VENDOR_PATH",          /* the same */
    "OPENCL_LAYERS",               /* the same */
    "GCONV_PATH",                  /* the C library's converters, */
    "LOCPATH",                     /* and locales */
    "OPENSSL_CONF*",               /* OpenSSL, which HDF5 brings along: names engines, */
    "OPENSSL_ENGINES",             /* where they lie, */
    "OPENSSL_MODULES",             /* and providers */
    "GSS_MECH_CONFIG",             /* Kerberos names modules */
    "KRB5_CONFIG",                 /* the same */
    "SASL_PATH",                   /* SASL: plugins, */
    "SASL_CONF_PATH",              /* and their settings */
    "GNUTLS_SYSTEM_PRIORITY_FILE", /* GnuTLS */
    "GNUTLS_PIN",                  /* the same */
    "LDAPCONF",                    /* LDAP: TLS engines */
    "LDAPRC",                      /* the same */
    "LDAPTLS_*",                   /* the same */
    "CURL_SSL_BACKEND",            /* curl */
    "P11_KIT_*",                   /* PKCS 11: modules */
};

static int is_refused(const char *entry) {
    size_t size = strcspn(entry, "=");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        size_t n = strlen(refused[i]);
        if (refused[i][n - 1] == '*' ? size >= n - 1 && !strncmp(entry, refused[i], n - 1)
                                     : size == n && !strncmp(entry, refused[i], n))
            return 1;
    }
    return 0;
}

/* In place, for the C library takes this very array; it has not started yet, so nothing of its state is used. */
static void scrub(int argc, char **argv, char **environment) {
    char **kept = environment;
    (void)argc;
    (void)argv;
    for (char **entry = environment; *entry; entry++)
        if (!is_refused(*entry)) *kept++ = *entry;
    *kept = NULL;
}

__attribute__((section(".preinit_array"), used)) static void (*const before_all)(int, char **, char **) = scrub;
